"""The report as CSV: one line per run, data set, kind of confidence, readout and metric."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence

from vlcal.evaluation.report.baselines import STATED, Found
from vlcal.evaluation.report.findings import KindFindings
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.table import Estimate

ALL, MACRO = "(all)", "(mean over data sets)"
COLUMNS = (
    *("run", "dataset", "kind", "truth", "readout", "metric", "value", "low", "high"),
    *("difference", "difference_low", "difference_high", "responses"),
)
Line = dict[str, object]


def sheet(runs: Sequence[Run], kinds: Sequence[KindFindings], baselines: Found) -> str:
    """Every estimate; a difference is from the first run, on the questions that both have."""
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for kind in kinds:
        for finding in kind.findings:
            truth = "correct" if kind.borrowed else kind.kind.truth
            about = {"run": runs[finding.run].name, "kind": kind.kind.name, "truth": truth}
            table = finding.table
            whole: Line = {**about, "dataset": ALL, "responses": table.counts.n}
            writer.writerows(_lines({**whole, "readout": STATED}, table.estimates, finding.difference))
            for readout, estimates in baselines.get(kind.kind.name, {}).get(finding.run, {}).items():
                if readout != STATED:
                    writer.writerows(_lines({**whole, "readout": readout}, estimates))
            if len(table.datasets) > 1:
                for name, estimates in table.datasets.items():
                    count = table.dataset_counts[name].n
                    writer.writerows(
                        _lines({**about, "dataset": name, "responses": count, "readout": STATED}, estimates)
                    )
                writer.writerows(_lines({**whole, "dataset": MACRO, "readout": STATED}, table.macro))
    return written.getvalue()


def _lines(
    about: Line, estimates: Mapping[str, Estimate], differences: Mapping[str, Estimate] | None = None
) -> Iterator[Line]:
    for metric, estimate in estimates.items():
        line = {**about, "metric": metric, **_figures("", estimate)}
        yield {**line, **_figures("difference", differences[metric])} if differences else line


def _figures(prefix: str, estimate: Estimate) -> Line:
    names = (f"{prefix}_low", f"{prefix}_high") if prefix else ("low", "high")
    values = (estimate.value, estimate.low, estimate.high)
    return {
        name: f"{value:.6g}"
        for name, value in zip((prefix or "value", *names), values, strict=True)
        if not math.isnan(value)
    }
