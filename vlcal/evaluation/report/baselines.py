"""The stated confidence beside post-hoc calibrators, which never saw the question they calibrate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vlcal.evaluation.metrics import METRICS, Judged
from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.posthoc import (
    Beta,
    Calibrator,
    Histogram,
    Isotonic,
    Platt,
    Temperature,
    WithCertainty,
    cross_fitted,
)
from vlcal.evaluation.report.content import Cell, Figure, Row, Section, Table
from vlcal.evaluation.report.figures import forest_figure
from vlcal.evaluation.report.findings import Finding, KindFindings
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.report.wording import estimate_cell
from vlcal.evaluation.table import Estimate, metric_estimates

STATED = "stated"
FOLDS = 5
CALIBRATORS: Mapping[str, Calibrator] = {
    "temperature": Temperature(),
    "Platt": Platt(),
    "beta": Beta(),
    "isotonic": Isotonic(),
    "histogram": Histogram(),
}
CERTAINTY = "label-free visual certainty"
METRICS_SHOWN = ("ece_equal_width", "smooth_ece", "brier", "log_loss", "auroc")
DRAWN = ("ece_equal_width", "brier", "auroc")
Readouts = Mapping[str, Mapping[str, Estimate]]
Found = Mapping[str, Mapping[int, Readouts]]


def readouts(run: Run, kind: str, judged: Judged) -> Iterator[tuple[str, Judged]]:
    """The same responses under each readout: stated, calibrated, read out otherwise, measured without a label."""
    yield STATED, judged
    question = np.char.add(np.char.add(judged.dataset, "\n"), judged.question)
    for name, calibrator in CALIBRATORS.items():
        yield name, _replaced(judged, cross_fitted(calibrator, judged.confidence, judged.correct, question, FOLDS))
    for column, values in run.readouts.items():
        name, _, of = column.rpartition("_")
        inside = (values >= 0) & (values <= 1)
        if of == kind and inside[~np.isnan(values)].all():  # a score on another scale is no confidence
            yield f"read out: {name.replace('_', ' ')}", _replaced(judged, values)
    score, certainty = run.column("certainty_score"), run.column("certainty")
    if not np.isnan(score).all():
        both = cross_fitted(WithCertainty(), judged.confidence, judged.correct, question, FOLDS, 0, score)
        yield "with visual certainty", _replaced(judged, both)
    if not np.isnan(certainty).all():
        yield CERTAINTY, _replaced(judged, certainty)


def gather_baselines(runs: Sequence[Run], kinds: Sequence[KindFindings], draws: int, seed: int) -> Found:
    """Kind of confidence -> run -> readout -> metric -> estimate."""

    def gathered(finding: Finding, kind: str) -> Readouts:
        return {
            name: finding.table.estimates if name == STATED else metric_estimates(judged, METRICS_SHOWN, draws, seed)
            for name, judged in readouts(runs[finding.run], kind, finding.judged)
        }

    return {
        kind.kind.name: {finding.run: gathered(finding, kind.kind.name) for finding in kind.findings} for kind in kinds
    }


def baseline_section(runs: Sequence[Run], found: Found) -> Section:
    """A figure and a table per kind of confidence."""
    figures = [_figure(runs, kind, tables) for kind, tables in found.items()]
    lead = (
        f"What is learned should beat what labels buy afterwards. Each calibrator is fitted to {FOLDS - 1} of {FOLDS} "
        "parts of the questions and judged on the other. Filled: as stated; hollow: post hoc. A monotone calibrator "
        "cannot improve the ranking, which AUROC measures. The visual certainty is no probability: read its AUROC only."
    )
    return Section(
        "posthoc", "Trained confidence beside post-hoc baselines", lead, tuple(figures), columns=1, legend=True
    )


def _figure(runs: Sequence[Run], kind: str, tables: Mapping[int, Readouts]) -> Figure:
    rows: list[Row] = [
        (
            Cell(readout if len(tables) == 1 else f"{runs[run].name}, {readout}"),
            *(estimate_cell(estimates[metric], metric) for metric in METRICS_SHOWN),
        )
        for run, found in tables.items()
        for readout, estimates in found.items()
    ]
    head = ("readout", *(METRICS[metric].label for metric in METRICS_SHOWN))
    numbers = Table(f"Readouts of the {kind} confidence", head, tuple(rows))
    drawn = [(metric, METRICS[metric].label) for metric in DRAWN]
    return forest_figure(tables, drawn, f"{kind} confidence", numbers)


def _replaced(judged: Judged, confidence: Floats) -> Judged:
    return Judged(confidence, judged.correct, judged.question, judged.dataset)
