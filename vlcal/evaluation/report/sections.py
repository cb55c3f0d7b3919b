"""The sections of a report, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from vlcal.evaluation.metrics import METRICS
from vlcal.evaluation.report.baselines import Found, baseline_section
from vlcal.evaluation.report.content import Cell, Figure, Section, Table
from vlcal.evaluation.report.failures import plane_section
from vlcal.evaluation.report.figures import coverage_figure, histogram_figure, reliability_figure
from vlcal.evaluation.report.findings import Finding, KindFindings
from vlcal.evaluation.report.probes import probe_section
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.report.summary import summary_section
from vlcal.evaluation.report.wording import number


def all_sections(
    runs: Sequence[Run], kinds: Sequence[KindFindings], baselines: Found, draws: int
) -> tuple[Section, ...]:
    """Everything but the responses themselves."""
    found = (
        summary_section(runs, kinds, draws),
        reliability_section(runs, kinds),
        histogram_section(runs, kinds),
        coverage_section(runs, kinds),
        plane_section(runs),
        baseline_section(runs, baselines),
        probe_section(runs),
    )
    return tuple(section for section in found if section is not None)


def reliability_section(runs: Sequence[Run], kinds: Sequence[KindFindings]) -> Section:
    """A diagram per run and kind, the kinds side by side."""
    figures = [
        reliability_figure(finding.judged, finding.run, _caption(runs, kind, finding), _key_figures(finding))
        for kind, finding in _by_run(kinds)
    ]
    lead = (
        "How often a response is right that states so much. On the dashed line confidence means what it says; below it "
        "is too sure. Ten bins of equal width, 1.0 in the last; the band is Wilson's 95 % interval; bars count "
        "responses."
    )
    return Section("reliability", "Reliability", lead, tuple(figures), columns=len(kinds))


def histogram_section(runs: Sequence[Run], kinds: Sequence[KindFindings]) -> Section:
    """A histogram per run and kind."""
    figures = [
        histogram_figure(finding.judged, finding.run, _caption(runs, kind, finding)) for kind, finding in _by_run(kinds)
    ]
    lead = (
        "Right responses upwards, wrong ones downwards. A confidence that separates them leans right above and left "
        "below."
    )
    return Section("confidence", "Stated confidence", lead, tuple(figures), columns=len(kinds))


def coverage_section(runs: Sequence[Run], kinds: Sequence[KindFindings]) -> Section:
    """A drawing per kind with every run in it."""
    names = {number: run.name for number, run in enumerate(runs)}
    figures: list[Figure] = [
        coverage_figure(
            {finding.run: finding.judged for finding in kind.findings}, names, f"{kind.kind.name} confidence"
        )
        for kind in kinds
    ]
    lead = (
        "Answer only where the confidence is highest: how much of what is answered is wrong? A useful confidence "
        "starts low and rises to the overall error at the right; a flat line ranks nothing."
    )
    return Section("coverage", "Risk and coverage", lead, tuple(figures), columns=len(figures), legend=True)


def conventions() -> Table:
    """How each metric is computed, in the words that it carries."""
    rows = [(Cell(metric.label), Cell(metric.better.value), Cell(metric.convention)) for metric in METRICS.values()]
    return Table("Conventions of the metrics", ("metric", "better", "convention"), tuple(rows))


def _by_run(kinds: Sequence[KindFindings]) -> list[tuple[KindFindings, Finding]]:
    pairs = [(kind, finding) for kind in kinds for finding in kind.findings]
    return sorted(pairs, key=lambda pair: pair[1].run)


def _caption(runs: Sequence[Run], kind: KindFindings, finding: Finding) -> str:
    return f"{kind.kind.name} confidence, {runs[finding.run].name}"


def _key_figures(finding: Finding) -> str:
    estimates = finding.table.estimates
    return f"ECE {number(estimates['ece_equal_width'].value)}, AUROC {number(estimates['auroc'].value)}"
