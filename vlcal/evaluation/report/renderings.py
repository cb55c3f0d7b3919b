"""A comparison as text: for the terminal, as Markdown, as JSON, as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from vlcal.evaluation.metrics import METRICS
from vlcal.evaluation.report.content import Cell, Section, Table
from vlcal.evaluation.report.scored import OF_BASELINES, Comparison, Estimates, Scored
from vlcal.evaluation.report.tables import STATED, all_tables, with_baselines

ALL, MACRO = "(all)", "(mean over data sets)"
COLUMNS = (
    *("run", "dataset", "kind", "truth", "readout", "metric", "value", "low", "high"),
    *("difference", "difference_low", "difference_high", "difference_detectable", "responses"),
)
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~$"} | {"\n": " ", "\r": " "})
Line = dict[str, object]


class Rendering(ABC):
    """A way to write a comparison down."""

    of_baselines: ClassVar[Collection[str]] = OF_BASELINES
    """The metrics that it shows of the baselines."""

    @abstractmethod
    def __call__(self, comparison: Comparison) -> str:
        """The whole text."""


class Terminal(Rendering):
    """Tables for the terminal, as wide as they need."""

    def __call__(self, comparison: Comparison) -> str:
        """Every table with its notes below."""
        from rich.console import Console
        from rich.table import Table as Grid
        from rich.text import Text

        text = io.StringIO()
        console = Console(file=text, width=1000, highlight=False, emoji=False)
        for table in all_tables(comparison):
            console.print(Text(table.caption, style="bold"))
            grid = Grid()
            for place, name in enumerate(table.head):
                grid.add_column(Text(name), justify="right" if place else "left")
            for row in table.rows:
                grid.add_row(*(Text(_plain(cell)) for cell in row))
            console.print(grid)
            for note in table.notes:
                console.print(Text(note))
            console.print()
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


class Markdown(Rendering):
    """Markdown tables."""

    def __call__(self, comparison: Comparison) -> str:
        """Every table under a heading, with its notes below."""
        return "\n\n".join(markdown_table(table, "##") for table in all_tables(comparison)) + "\n"


class Json(Rendering):
    """JSON without NaN: what is undefined is null.

    Of one file an object with a key per kind of confidence, metric -> value, low, high, and beside these `posthoc`,
    `datasets`, `macro`, `counts`, `held_against`, `correlation`, `absent` and `file`. Of several files `runs`, a list
    of such objects, and `differences`, a list with one object per file after the first, where each metric has
    `detectable` too, the minimum detectable difference; its `notes` say per kind why a difference is missing or on
    which questions it was taken.
    """

    of_baselines: ClassVar[Collection[str]] = METRICS

    def __call__(self, comparison: Comparison) -> str:
        """One object."""
        runs = [_run(file) for file in comparison.files]
        differences = [
            {
                "file": str(file.outputs.path),
                **{kind: _estimates(found.estimates) for kind, found in differences.items() if found.estimates},
                "notes": {kind: found.note for kind, found in differences.items() if found.note},
            }
            for file, differences in zip(comparison.files[1:], comparison.differences, strict=True)
        ]
        content = runs[0] if len(runs) == 1 else {"runs": runs, "differences": differences}
        return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


class Csv(Rendering):
    """One line per file, data set, kind of confidence, readout and metric; an undefined number is empty."""

    def __call__(self, comparison: Comparison) -> str:
        """Every estimate; a difference is from the first file, on the questions that both have."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for kind in comparison.kinds:
            differences = {number: found.estimates for number, _, found in comparison.compared(kind)}
            for number, name, scored in comparison.of(kind):
                about: Line = {"run": name, "kind": kind, "truth": scored.truth, "readout": STATED}
                table = scored.table
                whole: Line = {**about, "dataset": ALL, "responses": table.counts.n}
                for readout, estimates in with_baselines(scored).items():
                    beside = differences.get(number, {}) if readout == STATED else {}
                    writer.writerows(_lines({**whole, "readout": readout}, estimates, beside))
                if len(table.datasets) > 1:
                    for dataset, estimates in table.datasets.items():
                        responses = table.dataset_counts[dataset].n
                        writer.writerows(_lines({**about, "dataset": dataset, "responses": responses}, estimates))
                    writer.writerows(_lines({**whole, "dataset": MACRO}, table.macro))
        return text.getvalue()


RENDERINGS: Mapping[str, Rendering] = {"table": Terminal(), "markdown": Markdown(), "json": Json(), "csv": Csv()}


def markdown_report(title: str, facts: Iterable[str], verdicts: Iterable[str], sections: Sequence[Section]) -> str:
    """A report as Markdown: what it comes to, its tables, and the numbers behind each figure."""
    parts = [f"# {escaped(title)}", *("\n".join(f"- {escaped(line)}" for line in lines) for lines in (facts, verdicts))]
    for section in sections:
        parts += [f"## {escaped(section.title)}", escaped(section.lead)]
        parts += [markdown_table(table, "###") for table in section.tables]
        parts += [markdown_table(figure.numbers, "###", figure.note) for figure in section.figures]
        parts += [markdown_table(table, "###") for table in section.folded]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table, heading: str, lead: str = "") -> str:
    """A heading, a table under it, and its notes."""
    lines = [[escaped(name) for name in table.head], ["---", *["---:"] * (len(table.head) - 1)]]
    lines += [[_marked(cell) for cell in row] for row in table.rows]
    grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- {escaped(note)}" for note in table.notes)
    parts = (f"{heading} {escaped(table.caption)}", escaped(lead), grid, notes)
    return "\n\n".join(part for part in parts if part)


def escaped(text: str) -> str:
    """Text without any markup."""
    return text.translate(_MARKUP)


def _marked(cell: Cell) -> str:
    text = f"**{escaped(cell.text)}**" if cell.strong else escaped(cell.text)
    return f"{text} ({escaped(cell.note)})" if cell.note else text


def _plain(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text


def _run(file: Scored) -> dict[str, Any]:
    tables = {kind: scored.table for kind, scored in file.kinds.items()}
    return {
        **{kind: _estimates(table.estimates) for kind, table in tables.items()},
        "posthoc": {
            kind: {name: _estimates(estimates) for name, estimates in scored.baselines.items()}
            for kind, scored in file.kinds.items()
        },
        "datasets": {
            name: {kind: _estimates(table.datasets[name]) for kind, table in tables.items()}
            for name in next(iter(tables.values())).datasets
        },
        "macro": {kind: _estimates(table.macro) for kind, table in tables.items()},
        "counts": {kind: asdict(table.counts) for kind, table in tables.items()},
        "held_against": {kind: scored.truth for kind, scored in file.kinds.items()},
        "correlation": None if file.correlation is None else _numbers(file.correlation._asdict()),
        "absent": next(table.absent for table in tables.values()),
        "file": str(file.outputs.path),
    }


def _estimates(estimates: Estimates) -> dict[str, dict[str, float | None]]:
    return {name: _numbers(asdict(estimate)) for name, estimate in estimates.items()}


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _lines(about: Line, estimates: Estimates, differences: Estimates | None = None) -> Iterator[Line]:
    for metric, estimate in estimates.items():
        columns = dict(zip(("value", "low", "high"), asdict(estimate).values(), strict=True))
        if differences:
            names = ("difference", "difference_low", "difference_high", "difference_detectable")
            columns |= zip(names, asdict(differences[metric]).values(), strict=True)
        known = {name: f"{value:.6g}" for name, value in columns.items() if not math.isnan(value)}
        yield {**about, "metric": metric, **known}
