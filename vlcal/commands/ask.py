"""`vlcal ask`: a trained model answers a question about an image, or a file of questions, or abstains."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlcal.errors import UserError
from vlcal.files import AtomicFile

if TYPE_CHECKING:
    from vlcal.evaluation.metrics.selective import SelectiveThreshold
    from vlcal.inference import CalibratedModel, Question, Reply

ABSENT = "–"


def ask(
    image: Path | None = None,
    question: str | None = None,
    /,
    *,
    model: Path,
    config: Path | None = None,
    checkpoint: Path | None = None,
    file: Path | None = None,
    output: Path | None = None,
    batch_size: int = 8,
    certainty: bool = False,
    risk: float | None = None,
    delta: float = 0.05,
    validation: Path | None = None,
) -> None:
    """Put a question about an image to a trained model, or every question of a file.

    Args:
        image: The image.
        question: The question.
        model: Folder of a run, of an exported checkpoint or of an adapter.
        config: Config of the run, for a folder that does not carry it.
        checkpoint: Checkpoint of a run; left out, the latest.
        file: CSV, JSON Lines or parquet with a question and an image in each row, in place of one question.
        output: Where the answers to a file go, as JSON Lines.
        batch_size: Questions of a file that go through the model together.
        certainty: Measure the visual certainty as well, by perturbing the image.
        risk: Share of the answers that may be wrong, in (0, 1); the model abstains where its confidence is too low.
        delta: Probability, over validation samples, that more of them are wrong all the same.
        validation: Predictions with verdicts that the threshold is taken from, such as the validation.jsonl of a run.

    Raises:
        UserError: If the arguments do not belong together, or something named is not there.
    """
    rule = None if risk is None else threshold_of(validation, risk, delta)
    asked = _asked(image, question, file, output)
    from vlcal.inference import load

    trained = load(model, config, checkpoint)
    replies = _replies(trained, asked, batch_size, certainty)
    if output is None:
        _show(next(replies)[1], rule)
    else:
        with AtomicFile(output) as rows:
            for put, reply in replies:
                rows.write(json.dumps(_row(put, reply, rule), ensure_ascii=False, allow_nan=False) + "\n")
        _say(f"{len(asked)} answers in {output}" + ("" if rule is None else f"; {rule.statement}"))


def threshold_of(validation: Path | None, risk: float, delta: float) -> SelectiveThreshold:
    """The rule by which to answer or abstain, from predictions with verdicts.

    Raises:
        UserError: If there are none.
    """
    from vlcal.evaluation.metrics.selective import first_per_question, selective_threshold
    from vlcal.evaluation.outputs import read_outputs

    if validation is None:
        raise UserError(
            "`validation` must name predictions with verdicts where `risk` is given, since the threshold is taken from "
            "them; got none. `vlcal validate` with PredictionWriter writes such a file."
        )
    outputs = read_outputs(validation)
    if "overall" not in outputs.confidence:
        raise UserError(f"`validation` must hold an overall confidence; {validation} has none.")
    judged = first_per_question(outputs.judged("overall"))
    return selective_threshold(judged.confidence, judged.correct, risk, delta)


def _asked(image: Path | None, question: str | None, file: Path | None, output: Path | None) -> list[Question]:
    """The questions that the arguments name."""
    from vlcal.inference import Question

    if file is None:
        if image is None or question is None or output is not None:
            raise UserError(
                "either IMAGE and QUESTION must be given, or both `--file` and `--output`; got "
                f"{_listed(IMAGE=image, QUESTION=question, file=file, output=output)}."
            )
        return [Question(question, (image,))]
    if image is not None or output is None:
        raise UserError(
            "`--file` must come with `--output`, and without IMAGE and QUESTION; got "
            f"{_listed(IMAGE=image, QUESTION=question, file=file, output=output)}."
        )
    return list(_in_file(file))


def _in_file(file: Path) -> Iterator[Question]:
    """The questions of a table, columns recognised by their names."""
    from vlcal.data.inspection import guess_columns, table_of
    from vlcal.data.records import images_of, listed, options_of
    from vlcal.inference import Question

    table = table_of(file)
    columns = guess_columns(table, kinds=("question", "images"))
    for index in range(len(table)):
        row = table[index]
        try:
            options = options_of(row.get(columns.options)) if columns.options else ()
            images = images_of(row, columns)
            yield Question(listed(row, columns, options), tuple(images), table.folder)
        except UserError as error:
            raise UserError(f"{table.place(index)}: {error}") from error


def _replies(
    trained: CalibratedModel, asked: list[Question], batch_size: int, certainty: bool
) -> Iterator[tuple[Question, Reply]]:
    if batch_size < 1:
        raise UserError(f"`batch_size` must be at least 1; got {batch_size}.")
    reply = trained.measure_all if certainty else trained.ask_all
    for start in range(0, len(asked), batch_size):
        some = asked[start : start + batch_size]
        yield from zip(some, reply(some), strict=True)


def _row(put: Question, reply: Reply, rule: SelectiveThreshold | None) -> dict[str, Any]:
    """One answer of a file; null where something is absent."""
    row = {"question": put.text, **asdict(reply)}
    row = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
    return row if rule is None else row | {"decision": _decision(reply, rule)}


def _show(reply: Reply, rule: SelectiveThreshold | None) -> None:
    shown = {
        "answer": reply.answer or ABSENT,
        "visual": f"{_level(reply.visual)}   stated confidence in what it saw",
        "reasoning": f"{_level(reply.reasoning)}   stated confidence in what it concluded",
        "overall": f"{_level(reply.overall)}   both joined",
    }
    if reply.certainty_score is not None:
        shown["certainty"] = f"{_level(reply.certainty_score)}   measured; higher is surer, on no fixed scale"
    if rule is not None:
        shown["decision"] = f"{_decision(reply, rule)}: {rule.statement}"
    if not reply.parsed:
        shown["form"] = "the response is not in the form that was asked for"
    for name, text in {**shown, "response": reply.response}.items():
        _say(f"{name:<11} {text}")


def _decision(reply: Reply, rule: SelectiveThreshold) -> str:
    return "answer" if rule.answers(reply.overall) else "abstain"


def _level(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:.2f}"


def _listed(**given: object) -> str:
    return ", ".join(name for name, value in given.items() if value is not None) or "none of them"


def _say(text: str) -> None:
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).out(text, highlight=False)
