"""The first section: every metric of every run with its interval, and paired differences from the first run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlcal.evaluation.metrics import METRICS
from vlcal.evaluation.report.content import Cell, Row, Section, Table
from vlcal.evaluation.report.findings import Finding, KindFindings
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.report.wording import ABSENT, count, difference_cell, estimate_cell
from vlcal.evaluation.table import Estimate

MAIN = (
    "accuracy",
    "mean_confidence",
    "overconfidence",
    "ece_equal_width",
    "smooth_ece",
    "brier",
    "log_loss",
    "auroc",
    "aurc",
    "coverage_at_risk_10",
    "distinct_values",
    "parse_rate",
)
PER_DATASET = ("accuracy", "ece_equal_width", "brier", "auroc")


def summary_section(runs: Sequence[Run], kinds: Sequence[KindFindings], draws: int) -> Section:
    """The tables of every kind of confidence: the main metrics, and the others folded away."""
    others = tuple(name for name in METRICS if name not in MAIN)
    lead = f"Small print: 95 % intervals from {count(draws)} bootstrap draws of the questions."
    if len(runs) > 1:
        lead += (
            f" A difference is taken on the questions that a run shares with {runs[0].name}; bold where its interval "
            "leaves out 0."
        )
    per_dataset = [table for kind in kinds for table in _dataset_tables(runs, kind)]
    return Section(
        "summary",
        "Summary",
        lead,
        tables=(_runs_table(runs, kinds), *(_kind_table(runs, kind, MAIN) for kind in kinds)),
        folded=(*per_dataset, *(_kind_table(runs, kind, others, "other metrics") for kind in kinds)),
    )


def _runs_table(runs: Sequence[Run], kinds: Sequence[KindFindings]) -> Table:
    found = {finding.run: finding for kind in reversed(kinds) for finding in kind.findings}
    rows = []
    for number, run in enumerate(runs):
        counts = found[number].table.counts if number in found else None
        malformed = sum(row.get("well_formed") is False for row in run.rows)
        truncated = sum(row.get("truncated") is True for row in run.rows)
        figures = (counts.questions, malformed, truncated, counts.unparsed) if counts else ()
        cells = [Cell(count(figure)) for figure in figures] or [Cell(ABSENT)] * 4
        rows.append((Cell(run.name), Cell(count(len(run))), *cells))
    head = ("run", "responses", "questions", "malformed", "cut at the length limit", "without a confidence")
    absent = next(iter(found.values())).table.absent if found else ""
    return Table(f"Responses; those without a confidence are {absent}", head, tuple(rows))


def _kind_table(runs: Sequence[Run], found: KindFindings, metrics: Sequence[str], which: str = "") -> Table:
    head: list[str] = ["metric"]
    accents: list[int | None] = [None]
    for finding in found.findings:
        head.append(runs[finding.run].name)
        accents.append(finding.run)
    compared = [finding for finding in found.findings if finding.difference is not None]
    for finding in compared:
        head.append(f"{runs[finding.run].name} less {runs[0].name}")
        accents.append(finding.run)
    rows = []
    for name in metrics:
        values = [estimate_cell(finding.table.estimates[name], name) for finding in found.findings]
        changes = [difference_cell(finding.difference[name], name) for finding in compared if finding.difference]
        rows.append((Cell(METRICS[name].label), *values, *changes))
    caption = f"{found.kind.name.capitalize()} confidence against {found.held_against}"
    return Table(f"{caption}: {which}" if which else caption, tuple(head), tuple(rows), tuple(accents))


def _dataset_tables(runs: Sequence[Run], found: KindFindings) -> list[Table]:
    """One table per run that has several data sets."""
    return [
        Table(
            f"{found.kind.name.capitalize()} confidence of {runs[finding.run].name} by data set",
            ("data set", "responses", *(METRICS[name].label for name in PER_DATASET)),
            tuple(_dataset_rows(finding)),
        )
        for finding in found.findings
        if len(finding.table.datasets) > 1
    ]


def _dataset_rows(finding: Finding) -> list[Row]:
    table = finding.table
    rows = [
        (Cell(name), Cell(count(table.dataset_counts[name].n)), *_cells(estimates))
        for name, estimates in table.datasets.items()
    ]
    return [*rows, (Cell("mean over data sets"), Cell(count(table.counts.n)), *_cells(table.macro))]


def _cells(estimates: Mapping[str, Estimate]) -> list[Cell]:
    return [estimate_cell(estimates[name], name) for name in PER_DATASET]
