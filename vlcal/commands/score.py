"""`vlcal score`: how well calibrated the outputs in files are, whoever wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vlcal.files import write_whole

Format = Literal["table", "markdown", "json", "csv"]
Absent = Literal["wrong-and-unsure", "leave-out"]


def score(
    files: list[Path],
    confidence: str | None = None,
    correct: str | None = None,
    visual: str | None = None,
    reasoning: str | None = None,
    perception_correct: str | None = None,
    reasoning_correct: str | None = None,
    question: str | None = None,
    dataset: str | None = None,
    response: str | None = None,
    filter: str | None = None,  # noqa: A002 - the name of the option
    scale: Literal[1, 10, 100] | None = None,
    pattern: str | None = None,
    format: Format = "table",  # noqa: A002 - the name of the option
    output: Path | None = None,
    draws: int = 1000,
    seed: int = 0,
    absent: Absent = "wrong-and-unsure",
    gate: str | None = None,
) -> None:
    """Score the confidences that stand in files: vlcal's own, any table's, logs of lmms-eval and VLMEvalKit.

    Args:
        files: JSON, CSV, TSV, parquet or Excel, one row per response, or folders of them; several stand side
            by side, and so do the prediction files that vlcal wrote into a folder, as in `vlcal report`.
        confidence: Column of the overall confidence; by default `confidence` or `overall`.
        correct: Column of the verdict on the answer, in [0, 1]; `NAME.FIELD` reaches into a JSON object.
        visual: Column of the confidence in what was read from the image; by default `visual`.
        reasoning: Column of the confidence in what was concluded; by default `reasoning`.
        perception_correct: Column of whether the image was read correctly, for the visual confidence.
        reasoning_correct: Column of whether the answer follows from what was read, for the reasoning confidence.
        question: Column of the question's id; samples of one question are resampled together.
        dataset: Column of the data set's name; several are also scored one by one and averaged.
        response: Column of the texts that state the confidences; by default `response`, `prediction` or `completion`.
        filter: The filter of a sample log whose verdicts are read, where it holds several.
        scale: What full confidence is written as. Left out, only numbers that are plainly 0 to 1 are accepted.
        pattern: Regular expression for confidences in a response, with groups named confidence, visual or reasoning.
        format: How the metrics are written.
        output: File for the metrics; they go to the screen where none is given.
        draws: Bootstrap draws of the questions for the 95 % intervals; 0 leaves the intervals out.
        seed: Of the draws and of the folds of the post-hoc baselines.
        absent: How a response without a confidence is scored.
        gate: Limit that every file must keep, such as ece<=0.05 or visual.auroc>=0.7; missed, the status is 1.

    Raises:
        UserError: If a file, column, row or setting is not what it should be.
    """
    from vlcal.evaluation.metrics import LeaveOut, WrongAndUnsure
    from vlcal.evaluation.outputs import PatternStatement, Request, read_runs, scale_of
    from vlcal.evaluation.report.gate import Gate
    from vlcal.evaluation.report.renderings import RENDERINGS
    from vlcal.evaluation.report.scored import Bootstrap, compare

    limit = None if gate is None else Gate(gate)  # refused before anything is read
    policies = {"wrong-and-unsure": WrongAndUnsure(), "leave-out": LeaveOut()}
    how = Bootstrap(draws, seed, policies[absent])
    named = {"confidence": confidence, "visual": visual, "reasoning": reasoning, "correct": correct}
    named |= {"perception_correct": perception_correct, "reasoning_correct": reasoning_correct}
    named |= {"question": question, "dataset": dataset, "response": response, "filter": filter}
    statement = None if pattern is None else PatternStatement(pattern, scale_of(scale))
    request = Request(scale=scale_of(scale), statement=statement, **named)
    rendering, outputs = RENDERINGS[format], [run for path in files for run in read_runs(path, request)]
    comparison = compare(outputs, how, of_baselines=rendering.of_baselines)
    _write(rendering(comparison), output)
    if limit is not None:
        limit.check(comparison)


def _write(text: str, output: Path | None) -> None:
    from rich.console import Console

    if output is None:
        Console(soft_wrap=True).out(text, end="", highlight=False)
    else:
        write_whole(output, text)
