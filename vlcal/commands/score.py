"""`vlcal score`: how well calibrated the outputs in some files are, whoever wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console

Format = Literal["table", "markdown", "json"]
Absent = Literal["wrong-and-unsure", "leave-out"]


def score(
    files: list[Path],
    confidence: str | None = None,
    correct: str | None = None,
    visual: str | None = None,
    reasoning: str | None = None,
    read_right: str | None = None,
    reasoned_right: str | None = None,
    question: str | None = None,
    dataset: str | None = None,
    scale: Literal[1, 10, 100] | None = None,
    pattern: str | None = None,
    format: Format = "table",  # noqa: A002 - the name of the option
    output: Path | None = None,
    draws: int = 1000,
    seed: int = 0,
    absent: Absent = "wrong-and-unsure",
) -> None:
    """Score the confidences that stand in files: vlcal's own, any table's, logs of lmms-eval and VLMEvalKit.

    Args:
        files: JSON Lines, JSON arrays, CSV, TSV, parquet or Excel, one row per response; several stand side by side.
        confidence: Column of the overall confidence; by default `confidence` or `overall`.
        correct: Column of the verdict on the answer, in [0, 1]; `NAME.FIELD` reaches into a JSON object.
        visual: Column of the confidence in what was seen; by default `visual`.
        reasoning: Column of the confidence in what was concluded; by default `reasoning`.
        read_right: Column of whether the image was read right, which the visual confidence is held against.
        reasoned_right: Column of whether the answer follows from what was read, for the reasoning confidence.
        question: Column of the question's id; samples of one question are resampled together.
        dataset: Column of the data set's name; several are also scored apart and averaged.
        scale: What full confidence is written as. Left out, only numbers that are plainly 0 to 1 are accepted.
        pattern: Regular expression for confidences in a response, with groups named confidence, visual or reasoning.
        format: How the figures are written.
        output: File for the figures; they go to the screen where none is given.
        draws: Bootstrap draws of the questions for the 95 % intervals; 0 leaves the intervals out.
        seed: Of the draws and of the folds of the post-hoc baselines.
        absent: How a response without a confidence is scored.

    Raises:
        ValueError: If a file, column, row or setting is not what it should be.
    """
    from vlcal.evaluation.metrics import LeaveOut, WrongAndUnsure
    from vlcal.evaluation.outputs import PatternStatement, Request, read_outputs, scale_of
    from vlcal.evaluation.render import RENDERINGS
    from vlcal.evaluation.scored import Bootstrap, side_by_side
    from vlcal.evaluation.table import check_draws

    check_draws(draws)
    request = Request(
        confidence=confidence,
        visual=visual,
        reasoning=reasoning,
        correct=correct,
        read_right=read_right,
        reasoned_right=reasoned_right,
        question=question,
        dataset=dataset,
        scale=scale_of(scale),
        statement=None if pattern is None else PatternStatement(pattern, scale_of(scale)),
    )
    policies = {"wrong-and-unsure": WrongAndUnsure(), "leave-out": LeaveOut()}
    outputs = [read_outputs(path, request) for path in files]
    _write(RENDERINGS[format](*side_by_side(outputs, Bootstrap(draws, seed, policies[absent]))), output)


def _write(text: str, output: Path | None) -> None:
    """The text on the screen, or in a file that appears when it is complete."""
    if output is None:
        Console(soft_wrap=True).out(text, end="", highlight=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(output)
