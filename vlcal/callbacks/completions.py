"""Completions as rows that a person or a program can read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vlcal.text.spans import Tokenizer, token_offsets
from vlcal.types import Assessment, Extras
from vlcal.verifiers import NoVerifier

Row = dict[str, Any]

COLUMNS = ("correct", "visual", "reasoning", "overall", "perception_correct", "reasoning_correct", "certainty")
JUDGED = {"correct", "reward"}  # what an unanswered row has none of
ABSENT = "–"
# Every character that markdown or HTML could take for markup: TensorBoard would drop `<think>`.
_MARKUP = str.maketrans({mark: f"&#{ord(mark)};" for mark in "&<>\"'\\`*_{}[]()#+-.!|~$"} | {"\n": "<br>", "\r": " "})


def completion_rows(assessment: Assessment) -> list[Row]:
    """One row per completion, in plain Python values; None where a value is absent or unknown."""
    prompts, rollouts, said = assessment.prompts, assessment.rollouts, assessment.responses
    numbers = {
        "correct": said.correct,
        "visual": said.visual,
        "reasoning": said.reasoning,
        "overall": said.overall,
        "perception_correct": said.perception_correct,
        "reasoning_correct": said.reasoning_correct,
        "certainty": assessment.certainty.response,
        "certainty_score": assessment.certainty.score,
        "reward": assessment.rewards.total,
    }
    columns = {name: [_number(value) for value in values.tolist()] for name, values in numbers.items()}
    terms = {name: [_number(value) for value in term.tolist()] for name, term in assessment.rewards.terms.items()}
    rows = []
    for row, text in enumerate(rollouts.texts):
        prompt = row // rollouts.group_size
        judged = not isinstance(prompts.verifiers[prompt], NoVerifier)
        rows.append(
            {
                "id": prompts.ids[prompt],
                "question_id": _name(prompts.extras[prompt], "question_id"),
                "dataset": _name(prompts.extras[prompt], "dataset"),
                "question": prompts.questions[prompt],
                "target": prompts.targets[prompt],
                "response": text,
                "answer": said.answers[row],
                "well_formed": bool(said.well_formed[row]),
                "truncated": bool(rollouts.truncated[row]),
                **{name: values[row] if judged or name not in JUDGED else None for name, values in columns.items()},
                "rewards": {name: values[row] if judged else None for name, values in terms.items()},
                "clearness": _number(float(prompts.extras[prompt].get("clearness", math.nan))),
            }
        )
    return rows


def vision_tokens(assessment: Assessment, tokenizer: Tokenizer | None) -> list[list[tuple[str, float | None]] | None]:
    """For each completion the text pieces of its vision tokens, each with the certainty of the token.

    The pieces joined are a part of the text; a character that several tokens share belongs to the first. None where a
    completion has no vision part, and everywhere without a tokenizer.
    """
    rollouts, spans = assessment.rollouts, assessment.responses.spans
    if tokenizer is None:
        return [None] * len(rollouts)
    rows: list[list[tuple[str, float | None]] | None] = []
    for ids, kept, seen, certainty in zip(
        rollouts.tokens.tolist(),
        rollouts.mask.sum(1).tolist(),
        spans.vision.tolist(),
        assessment.certainty.token.tolist(),
        strict=True,
    ):
        text, offsets = token_offsets(tokenizer, ids[:kept])
        written = 0
        pieces = []
        for (start, end), inside, value in zip(offsets, seen, certainty, strict=False):
            if inside:
                pieces.append((text[max(start, written) : end], _number(value)))
            written = max(written, end)
        rows.append(pieces or None)
    return rows


def completion_markdown(rows: Sequence[Row]) -> str:
    """The rows as a markdown table, with every markup character of questions and responses escaped."""
    texts = ("question", "target", "response", "answer")
    terms = list(rows[0]["rewards"]) if rows else []
    names = [*texts, *COLUMNS, *(f"reward {_escaped(name)}" for name in terms), "reward total"]
    lines = [names, ["---"] * len(names)]
    for row in rows:
        said = [_escaped(row[name]) if row[name] is not None else ABSENT for name in texts]
        numbers = [*(row[name] for name in COLUMNS), *(row["rewards"][name] for name in terms), row["reward"]]
        lines.append(said + [two_decimals(value) for value in numbers])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def two_decimals(value: float | None) -> str:
    """The value with two decimals, or a dash where it is absent."""
    return ABSENT if value is None else f"{value:.2f}"


def _escaped(text: str) -> str:
    return text.translate(_MARKUP)


def _name(extras: Extras, key: str) -> str | None:
    return None if extras.get(key) is None else str(extras[key])


def _number(value: float) -> float | None:
    """The decimal behind a float32, 0.7 and not 0.699999988; None where JSON has no such number."""
    return round(value, 6) if math.isfinite(value) else None
