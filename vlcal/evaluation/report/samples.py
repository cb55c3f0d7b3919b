"""The responses that the page can show, packed into it."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlcal.evaluation.report.runs import CONFIDENCES, Run
from vlcal.evaluation.report.thumbnails import Thumbnails, in_turn

MOST_CHARACTERS = 12_000_000  # of the packed texts, so that the page stays below 25 MB
CONFIDENT, UNSURE = 0.7, 0.3  # from where a response is confident and up to where it is unsure
IMAGE_RULE = (
    "questions that some run answers wrong and confidently come first, then those it answers right and unsure, those "
    "it answers in a broken form, and the others in the order of the file"
)
_FIGURES = (
    *CONFIDENCES,
    "correct",
    "read_right",
    "reasoned_right",
    "certainty",
    "certainty_score",
    "clearness",
    "reward",
)
_TEXTS = ("response", "answer")
_FLAGS = ("well_formed", "truncated")
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Samples:
    """What the browser on the page reads.

    Args:
        packed: Questions and responses as JSON, compressed, in base64.
        thumbnails: Data addresses of images, one a line.
        kept: Responses in it.
        responses: Responses there are.
        pictured: Questions with an image in it.
        questions: Different questions in it.
    """

    packed: str
    thumbnails: str
    kept: int
    responses: int
    pictured: int
    questions: int


def pack_samples(runs: Sequence[Run], truths: Sequence[tuple[str, str]], images: int) -> Samples:
    """All responses, or those to questions evenly spread over the files, as many as fit.

    Args:
        runs: Whose responses.
        truths: Each kind of confidence with the column it is held against.
        images: Most questions whose images are kept.
    """
    keys = [[_key(run, number) for number in range(len(run))] for run in runs]
    order = list(dict.fromkeys(key for column in keys for key in column))
    pictures = Thumbnails(images)
    shown = _pictured(runs, keys, order, pictures)
    share = 1.0
    while True:
        chosen = {order[place] for place in np.unique(np.arange(0, len(order), 1 / share).astype(int))}
        content = _content(runs, keys, [key for key in order if key in chosen], shown)
        content["kinds"] = [{"name": name, "truth": truth} for name, truth in truths]
        packed = _packed(content)
        if len(packed) <= MOST_CHARACTERS:
            break
        share *= 0.9 * MOST_CHARACTERS / len(packed)
    kept = sum(len(run["question"]) for run in content["runs"])
    pictured = sum(bool(shown.get(key)) for key in chosen)
    return Samples(packed, "\n".join(pictures.addresses), kept, sum(map(len, runs)), pictured, len(chosen))


def _packed(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode()


def _key(run: Run, number: int) -> Key:
    """What makes two responses answers to the same question."""
    row = run.rows[number]
    return (
        str(run.dataset[number]),
        str(row.get("id") or run.question[number]),
        str(row.get("question") or ""),
        str(row.get("target") or ""),
    )


def _pictured(
    runs: Sequence[Run], keys: Sequence[Sequence[Key]], order: Sequence[Key], pictures: Thumbnails
) -> dict[Key, list[int]]:
    """The places of the images of each question that is shown with some."""
    paths: dict[Key, list[Any]] = {}
    for run, column in zip(runs, keys, strict=True):
        for key, row in zip(column, run.rows, strict=True):
            if key not in paths and row.get("images"):
                paths[key] = [run.path.parent / name for name in row["images"]]
    places = {key: place for place, key in enumerate(order)}
    ranked = [ranking for run, column in zip(runs, keys, strict=True) for ranking in _rankings(run, column, places)]
    sorts = [in_turn(ranked[sort::3]) for sort in range(3)]
    turn = in_turn([*sorts, range(len(order))])
    return {order[place]: pictures.add(paths[order[place]]) for place in turn if order[place] in paths}


def _rankings(run: Run, column: Sequence[Key], places: Mapping[Key, int]) -> list[list[int]]:
    """Questions answered wrong and confidently, right and unsure, and in a broken form; the extreme ones first."""
    stated, right = run.column(_stated(run)), run.column("correct") >= 0.5
    surest = np.argsort(-np.nan_to_num(stated, nan=0.5), kind="stable")
    broken = np.array([row.get("well_formed") is False for row in run.rows]) | np.isnan(stated)
    sorts = (
        [row for row in surest if stated[row] >= CONFIDENT and not right[row]],
        [row for row in surest[::-1] if stated[row] <= UNSURE and right[row]],
        np.flatnonzero(broken).tolist(),
    )
    return [[places[column[row]] for row in rows] for rows in sorts]


def _stated(run: Run) -> str:
    return next(name for name in CONFIDENCES if run.has(name))


def _content(
    runs: Sequence[Run],
    keys: Sequence[Sequence[Key]],
    order: Sequence[Key],
    shown: Mapping[Key, list[int]],
) -> dict[str, Any]:
    places = {key: place for place, key in enumerate(order)}
    questions = [
        {"dataset": key[0], "id": key[1], "question": key[2], "target": key[3], "images": shown.get(key, [])}
        for key in order
    ]
    packed = []
    for run, column in zip(runs, keys, strict=True):
        rows = [(places[key], row) for key, row in zip(column, run.rows, strict=True) if key in places]
        packed.append({"name": run.name, "question": [place for place, _ in rows], **_columns(rows)})
    return {"questions": questions, "runs": packed}


def _columns(rows: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
    columns: dict[str, Any] = {name: [_rounded(row.get(name)) for _, row in rows] for name in _FIGURES}
    columns |= {name: [row.get(name) for _, row in rows] for name in (*_TEXTS, *_FLAGS)}
    columns["rewards"] = [
        {name: _rounded(value) for name, value in (row.get("rewards") or {}).items()} or None for _, row in rows
    ]
    columns["tokens"] = [_tokens(row.get("vision_tokens")) for _, row in rows]
    # A column that nobody filled need not travel.
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _tokens(pieces: Sequence[tuple[str, float | None]] | None) -> list[list[Any]] | None:
    return None if not pieces else [[text for text, _ in pieces], [_rounded(value) for _, value in pieces]]


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 3)
