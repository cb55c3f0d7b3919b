"""The sections of a report, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlcal.evaluation.metrics import METRICS
from vlcal.evaluation.report.content import ABSENT, Cell, Figure, Section, Table, count, number, plain_cell
from vlcal.evaluation.report.figures import (
    corruption_figure,
    coverage_figure,
    forest_figure,
    histogram_figure,
    reliability_figure,
)
from vlcal.evaluation.report.plane import plane_section
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.report.scored import BASELINE_DRAWS, FOLDS, Comparison, ScoredKind
from vlcal.evaluation.report.tables import baseline_table, dataset_tables, kind_table, label, with_baselines

MAIN = (
    "accuracy",
    "mean_confidence",
    "overconfidence",
    "ece_equal_width",
    "smooth_ece",
    "brier",
    "log_loss",
    "auroc",
    "within_auroc",
    "aurc",
    "coverage_at_risk_10",
    "distinct_values",
    "parse_rate",
)
DRAWN = ("ece_equal_width", "brier", "auroc")
CURVE = "corruption"


def all_sections(comparison: Comparison, runs: Sequence[Run]) -> tuple[Section, ...]:
    """Everything but the responses themselves."""
    sections = (
        summary_section(comparison, runs),
        reliability_section(comparison),
        histogram_section(comparison),
        coverage_section(comparison),
        plane_section(runs),
        baseline_section(comparison),
        probe_section(runs),
    )
    return tuple(section for section in sections if section is not None)


def summary_section(comparison: Comparison, runs: Sequence[Run]) -> Section:
    """The tables of every kind of confidence: the main metrics open, the others and the data sets folded."""
    others = tuple(name for name in METRICS if name not in MAIN)
    lead = f"In small print: 95 % intervals from {count(comparison.how.draws)} bootstrap draws of the questions."
    if len(runs) > 1:
        lead += (
            f" A difference is taken on the questions that a run shares with {runs[0].name}; it is bold where its "
            "interval does not contain 0."
        )
    kinds = comparison.kinds
    return Section(
        "summary",
        "Summary",
        lead,
        tables=(_runs_table(comparison, runs), *(kind_table(comparison, kind, MAIN) for kind in kinds)),
        folded=(
            *(table for kind in kinds for table in dataset_tables(comparison, kind)),
            *(kind_table(comparison, kind, others, "other metrics") for kind in kinds),
        ),
    )


def reliability_section(comparison: Comparison) -> Section:
    """A diagram per run and kind, the kinds side by side."""
    figures = [
        reliability_figure(scored.responses, run, f"{kind} confidence, {name}", _key_metrics(scored))
        for run, name, kind, scored in _by_run(comparison)
    ]
    lead = (
        "The share of right responses at each stated confidence. A calibrated confidence lies on the dashed line, an "
        "overconfident one below it. Ten bins of equal width, 1.0 in the last; the band is Wilson's 95 % interval; "
        "bars count responses."
    )
    return Section("reliability", "Reliability", lead, tuple(figures), columns=len(comparison.kinds))


def histogram_section(comparison: Comparison) -> Section:
    """A histogram per run and kind."""
    figures = [
        histogram_figure(scored.responses, run, f"{kind} confidence, {name}")
        for run, name, kind, scored in _by_run(comparison)
    ]
    lead = (
        "Right responses above the line, wrong ones below. A confidence that separates them has its right responses on "
        "the right and its wrong ones on the left."
    )
    return Section("confidence", "Stated confidence", lead, tuple(figures), columns=len(comparison.kinds))


def coverage_section(comparison: Comparison) -> Section:
    """A drawing per kind with every run in it."""
    figures: list[Figure] = []
    for kind in comparison.kinds:
        shown = list(comparison.of(kind))
        responses = {run: scored.responses for run, _, scored in shown}
        figures.append(coverage_figure(responses, {run: name for run, name, _ in shown}, f"{kind} confidence"))
    lead = (
        "The share of wrong answers if only the most confident responses are accepted. A useful confidence starts low "
        "and rises to the overall error at the right; a flat line means that it does not rank."
    )
    return Section("coverage", "Risk and coverage", lead, tuple(figures), columns=len(figures), legend=True)


def baseline_section(comparison: Comparison) -> Section:
    """A figure and a table per kind of confidence."""
    drawn = [(metric, METRICS[metric].label) for metric in DRAWN]
    figures = [
        forest_figure(
            {
                run: {label(readout): estimates for readout, estimates in with_baselines(scored).items()}
                for run, _, scored in comparison.of(kind)
            },
            drawn,
            f"{kind} confidence",
            baseline_table(comparison, kind),
        )
        for kind in comparison.kinds
    ]
    lead = (
        f"What training should beat. Each calibrator is fitted to {FOLDS - 1} of {FOLDS} parts of the questions and "
        'applied to the other; "with certainty" takes the label-free visual certainty as a second feature. A readout '
        "is another confidence of the same response. The certainty alone is no probability: compare its AUROC only. A "
        "monotone calibrator cannot improve AUROC. Filled: as stated; hollow: baselines, whose intervals come from at "
        f"most {BASELINE_DRAWS} draws."
    )
    title = "Stated confidence beside post-hoc baselines"
    return Section("posthoc", title, lead, tuple(figures), columns=1, legend=True)


def probe_section(runs: Sequence[Run]) -> Section | None:
    """Corruption curves as figures and every other probe as a table; None without any."""
    figures, tables = [], []
    for place, run in enumerate(runs):
        for name, result in run.probes.items():
            rest = result
            if name == CURVE and isinstance(result, Mapping) and isinstance(result.get("severity"), list):
                figures.append(corruption_figure(result, place, run.name))
                rest = {key: value for key, value in result.items() if not isinstance(value, list)}
            if rest:
                tables.append(probe_table(f"{run.name}: {label(name)}", rest))
    if not figures and not tables:
        return None
    lead = (
        "Whether the confidence depends on this response and its image, or only on the question. It should fall with "
        "accuracy as an image is corrupted, and fall far without an image."
    )
    return Section("probes", "Probes", lead, tuple(figures), tuple(tables), columns=2)


def probe_table(caption: str, result: Any) -> Table:
    """A mapping as a table of as few columns as hold it; anything else as its one cell."""
    if not isinstance(result, Mapping):
        return Table(caption, ("result",), ((plain_cell(result),),))
    nested = {name: value for name, value in result.items() if isinstance(value, Mapping)}
    columns = list(dict.fromkeys(str(key) for value in nested.values() for key in value))
    if len(nested) < len(result):
        columns.insert(0, "value")
    rows = []
    for name, value in result.items():
        cells = {str(key): item for key, item in value.items()} if name in nested else {"value": value}
        shown = (plain_cell(cells[key]) if key in cells else Cell("") for key in columns)
        rows.append((Cell(label(str(name))), *shown))
    return Table(caption, ("", *map(label, columns)), tuple(rows))


def conventions() -> Table:
    """How each metric is computed, in its own words."""
    rows = [(Cell(metric.label), Cell(metric.better.value), Cell(metric.convention)) for metric in METRICS.values()]
    return Table("Conventions of the metrics", ("metric", "better", "convention"), tuple(rows))


def _runs_table(comparison: Comparison, runs: Sequence[Run]) -> Table:
    """Responses of each run; those without a confidence are of its first kind that is shown."""
    rows = []
    for run, file in zip(runs, comparison.files, strict=True):
        kind = next((kind for kind in comparison.kinds if kind in file.kinds), None)
        counts = file.kinds[kind].table.counts if kind else None
        malformed = sum(row.get("well_formed") is False for row in run.rows)
        truncated = sum(row.get("truncated") is True for row in run.rows)
        numbers = (counts.questions, malformed, truncated, counts.unparsed) if counts else ()
        rows.append((Cell(run.name), Cell(count(len(run))), *([Cell(count(n)) for n in numbers] or [Cell(ABSENT)] * 4)))
    head = ("run", "responses", "questions", "malformed", "cut at the length limit", "without a confidence")
    return Table(f"Responses; those without a confidence are {comparison.how.absent.description}", head, tuple(rows))


def _by_run(comparison: Comparison) -> list[tuple[int, str, str, ScoredKind]]:
    """Number and name of a run, kind and metrics: all kinds of the first run, then of the next."""
    shown = [(run, name, kind, scored) for kind in comparison.kinds for run, name, scored in comparison.of(kind)]
    return sorted(shown, key=lambda each: each[0])


def _key_metrics(scored: ScoredKind) -> str:
    estimates = scored.table.estimates
    return f"ECE {number(estimates['ece_equal_width'].value)}, AUROC {number(estimates['auroc'].value)}"
