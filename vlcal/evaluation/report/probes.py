"""Results of probes that lie beside a prediction file, whatever they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlcal.evaluation.report.content import Cell, Section, Table
from vlcal.evaluation.report.figures import corruption_figure
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.report.wording import plain_cell

CURVE = "corruption"


def probe_section(runs: Sequence[Run]) -> Section | None:
    """Corruption curves as figures and every other probe as a table; None without any."""
    figures, tables = [], []
    for number, run in enumerate(runs):
        for name, found in run.probes.items():
            if name == CURVE and isinstance(found, Mapping) and isinstance(found.get("severity"), list):
                figures.append(corruption_figure(found, number, run.name))
                rest: Any = {key: value for key, value in found.items() if not isinstance(value, list)}
            else:
                rest = found
            if rest:
                tables.append(probe_table(f"{run.name}: {name.replace('_', ' ')}", rest))
    if not figures and not tables:
        return None
    lead = (
        "Does the confidence judge this response, or only the question? As an image is spoiled, confidence must fall "
        "with accuracy; without an image it must fall far."
    )
    return Section("probes", "Probes", lead, tuple(figures), tuple(tables), columns=2)


def probe_table(caption: str, found: Any) -> Table:
    """A mapping as a table of as few columns as hold it; anything else as its one cell."""
    if not isinstance(found, Mapping):
        return Table(caption, ("result",), ((plain_cell(found),),))
    nested = {name: value for name, value in found.items() if isinstance(value, Mapping)}
    columns = list(dict.fromkeys(str(key) for value in nested.values() for key in value))
    if len(nested) < len(found):
        columns.insert(0, "value")
    rows = []
    for name, value in found.items():
        cells = {str(key): item for key, item in value.items()} if name in nested else {"value": value}
        figures = (plain_cell(cells[key]) if key in cells else Cell("") for key in columns)
        rows.append((Cell(str(name).replace("_", " ")), *figures))
    return Table(caption, ("", *(key.replace("_", " ") for key in columns)), tuple(rows))
