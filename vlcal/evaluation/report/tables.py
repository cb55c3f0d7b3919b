"""The tables of a comparison: all metrics of each kind, per data set, and beside post-hoc baselines."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from vlcal.evaluation.metrics import METRICS, AbsentPolicy, accuracy
from vlcal.evaluation.metrics.table import Estimate
from vlcal.evaluation.report.content import Cell, Row, Table, count, difference_cell, estimate_cell
from vlcal.evaluation.report.scored import OF_BASELINES, Comparison, Estimates, ScoredKind

TRUTHS = {
    "correct": "whether the answer is right",
    "perception_correct": "whether the image was read correctly",
    "reasoning_correct": "whether the answer follows from the reading",
}
PER_DATASET = ("accuracy", "ece_equal_width", "brier", "auroc")
STATED = "stated"
CEILING = "readout_ceiling"  # ResponseLikelihood under that name
UNKNOWN = Estimate(math.nan)


def all_tables(comparison: Comparison) -> Iterator[Table]:
    """Every table: per kind all metrics side by side; then data sets and baselines."""
    for kind in comparison.kinds:
        yield kind_table(comparison, kind)
    for kind in comparison.kinds:
        yield from dataset_tables(comparison, kind)
        yield baseline_table(comparison, kind)


def kind_table(comparison: Comparison, kind: str, metrics: Collection[str] = METRICS, part: str = "") -> Table:
    """Metrics of one kind of confidence: a column per file, then the paired differences to the first.

    Args:
        comparison: The files.
        kind: Of `overall`, `visual` and `reasoning`.
        metrics: Names of the metrics, a row each.
        part: Which metrics these are, for the caption; empty where they are the main ones, which carry the notes.
    """
    shown = list(comparison.of(kind))
    differences = [(run, name, found) for run, name, found in comparison.compared(kind) if found.estimates]
    first = comparison.files[0].name
    ceilings = [(run, name, scored.baselines[CEILING]) for run, name, scored in shown if CEILING in scored.baselines]
    above = [f"ceiling of {name}" for _, name, _ in ceilings]
    head = ["metric", *(name for _, name, _ in shown), *above, *(f"{name} − {first}" for _, name, _ in differences)]
    unparsed = any(scored.table.counts.unparsed for _, _, scored in shown)
    rows = [
        (
            Cell(metric_label(name, comparison.how.absent, unparsed)),
            *(estimate_cell(scored.table.estimates[name], name) for _, _, scored in shown),
            *(estimate_cell(found.get(name, UNKNOWN), name) for _, _, found in ceilings),
            *(difference_cell(found.estimates[name], name) for _, _, found in differences),
        )
        for name in metrics
    ]
    accents = (
        None,
        *(run for run, _, _ in shown),
        *(run for run, _, _ in ceilings),
        *(run for run, _, _ in differences),
    )
    caption = f"{kind.capitalize()} confidence, held against {held_against(comparison, kind)}"
    notes = () if part else tuple(_notes(comparison, kind, metrics))
    return Table(f"{caption}: {part}" if part else caption, tuple(head), tuple(rows), accents, notes)


def held_against(comparison: Comparison, kind: str) -> str:
    """The truth, or the truths, that a kind of confidence is held against, by name and in words."""
    truths = dict.fromkeys(scored.truth for _, _, scored in comparison.of(kind))
    return " or ".join(f"{truth} ({TRUTHS[truth]})" for truth in truths)


def dataset_tables(comparison: Comparison, kind: str) -> list[Table]:
    """One table per file that has several data sets."""
    absent = comparison.how.absent
    return [
        Table(
            f"{kind.capitalize()} confidence of {name} by data set",
            ("data set", "responses", *(metric_label(metric, absent, unparsed) for metric in PER_DATASET)),
            tuple(_dataset_rows(scored)),
        )
        for _, name, scored in comparison.of(kind)
        for unparsed in [scored.table.counts.unparsed > 0]
        if len(scored.table.datasets) > 1
    ]


def baseline_table(comparison: Comparison, kind: str) -> Table:
    """The stated confidence of each file, and below it its baselines."""
    several = len(comparison.files) > 1
    rows = [
        (Cell(f"{name}, {label(readout)}" if several else label(readout)), *_cells(estimates, OF_BASELINES))
        for _, name, scored in comparison.of(kind)
        for readout, estimates in with_baselines(scored).items()
    ]
    head = ("confidence", *(METRICS[metric].label for metric in OF_BASELINES))
    return Table(f"{kind.capitalize()} confidence beside post-hoc calibration, cross-fitted", head, tuple(rows))


def metric_label(name: str, absent: AbsentPolicy, unparsed: bool) -> str:
    """The label of a metric; that of accuracy says how responses without a confidence count, where there are any."""
    label = METRICS[name].label
    return f"{label}, {absent.in_accuracy}" if unparsed and METRICS[name] is accuracy else label


def with_baselines(scored: ScoredKind) -> dict[str, Estimates]:
    """The metrics of the stated confidence and of every baseline, by name."""
    return {STATED: scored.table.estimates, **scored.baselines}


def label(name: str) -> str:
    """A name as words."""
    return name.replace("_", " ")


def _notes(comparison: Comparison, kind: str, metrics: Collection[str]) -> Iterator[str]:
    for _, name, scored in comparison.of(kind):
        counts = scored.table.counts
        note = f"{name}: {count(counts.n)} responses to {count(counts.questions)} questions"
        note += f"; {count(counts.unparsed)} without a confidence, {scored.table.absent}" if counts.unparsed else ""
        yield note + (f"; {count(counts.unknown)} with an unknown outcome, left out" if counts.unknown else "")
    for _, name, found in comparison.compared(kind):
        if found.note:
            yield f"{name}: {found.note}"
    for name in metrics:
        if "ECE" in METRICS[name].label:
            yield f"{METRICS[name].label}: {METRICS[name].convention}"


def _dataset_rows(scored: ScoredKind) -> Iterator[Row]:
    table = scored.table
    for name, estimates in table.datasets.items():
        yield (Cell(name), Cell(count(table.dataset_counts[name].n)), *_cells(estimates, PER_DATASET))
    yield (Cell("mean over data sets"), Cell(count(table.counts.n)), *_cells(table.macro, PER_DATASET))


def _cells(estimates: Estimates, metrics: Collection[str]) -> list[Cell]:
    return [estimate_cell(estimates[name], name) for name in metrics]
