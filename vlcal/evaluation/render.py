"""Figures as a person or a program reads them: in the terminal, as Markdown, as JSON."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from vlcal.evaluation.scored import Differences, Scored
from vlcal.evaluation.table import METRICS, Counts, Estimate, MetricTable

DASH = "–"
# What is shown of every data set and every baseline; JSON has all.
HEADLINE = ("accuracy", "ece_equal_width", "brier", "auroc")
DIGITS = {"distinct_values": 0}  # of 3 otherwise
MACRO = "macro average"
STATED = "as stated"


@dataclass(frozen=True)
class Section:
    """One table of texts.

    Args:
        title: What it is about.
        header: Names of the columns.
        rows: Cells, as many as the header has.
        notes: What a reader must know to trust it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


class Rendering(ABC):
    """A way to write figures down."""

    @abstractmethod
    def __call__(self, results: Sequence[Scored], changes: Sequence[Differences]) -> str:
        """The whole text.

        Args:
            results: Files in the order they were given.
            changes: Of each file after the first the paired differences to the first.
        """


class Table(Rendering):
    """Tables for the terminal.

    Args:
        width: Characters in a line; None takes as many as the tables need.
    """

    def __init__(self, width: int | None = None) -> None:
        self.width = width

    def __call__(self, results: Sequence[Scored], changes: Sequence[Differences]) -> str:
        """Every section as a table with its notes below."""
        from rich.console import Console
        from rich.table import Table as Grid
        from rich.text import Text

        text = StringIO()
        console = Console(file=text, width=self.width or 1000, highlight=False, emoji=False)
        for section in sections(results, changes):
            grid = Grid(title=Text(section.title, style="bold"), title_justify="left")
            for number, name in enumerate(section.header):
                grid.add_column(Text(name), justify="right" if number else "left")
            for row in section.rows:
                grid.add_row(*map(Text, row))
            console.print(grid)
            for note in section.notes:
                console.print(Text(note))
            console.print()
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


class Markdown(Rendering):
    """Markdown tables."""

    def __call__(self, results: Sequence[Scored], changes: Sequence[Differences]) -> str:
        """Every section under a heading, with its notes below."""
        parts = []
        for section in sections(results, changes):
            lines = [section.header, ["---", *["---:"] * (len(section.header) - 1)], *section.rows]
            table = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
            notes = "\n".join(f"- {note}" for note in section.notes)
            parts += [f"## {section.title}", table, *([notes] if notes else [])]
        return "\n\n".join(parts) + "\n"


class Json(Rendering):
    """JSON without NaN: what is undefined is null.

    Of one file an object with a key per kind of confidence, metric -> value, low, high, and beside these `posthoc`,
    `datasets`, `macro`, `counts`, `held_against`, `correlation`, `absent` and `file`. Of several files `runs`, a list
    of such objects, and `differences`, a list with one object per file after the first.
    """

    def __call__(self, results: Sequence[Scored], changes: Sequence[Differences]) -> str:
        """One object."""
        runs = [self._run(result) for result in results]
        several = {
            "runs": runs,
            "differences": [
                {"file": str(result.outputs.path), **{kind: _figures(found) for kind, found in change.items()}}
                for result, change in zip(results[1:], changes, strict=True)
            ],
        }
        return json.dumps(runs[0] if len(runs) == 1 else several, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def _run(self, result: Scored) -> dict[str, Any]:
        tables = result.tables
        return {
            **{kind: _figures(table.estimates) for kind, table in tables.items()},
            "posthoc": {
                kind: {name: _figures(table.estimates) for name, table in found.items()}
                for kind, found in result.posthoc.items()
            },
            "datasets": {
                name: {kind: _figures(table.datasets[name]) for kind, table in tables.items()}
                for name in _datasets(result)
            },
            "macro": {kind: _figures(table.macro) for kind, table in tables.items()},
            "counts": {kind: asdict(table.counts) for kind, table in tables.items()},
            "held_against": dict(result.outputs.held_against),
            "correlation": None if result.correlation is None else _numbers(result.correlation._asdict()),
            "absent": next(table.absent for table in tables.values()),
            "file": str(result.outputs.path),
        }


RENDERINGS: Mapping[str, Rendering] = {"table": Table(), "markdown": Markdown(), "json": Json()}


def sections(results: Sequence[Scored], changes: Sequence[Differences]) -> Iterator[Section]:
    """Every table: per kind all metrics, side by side; then data sets and post-hoc baselines of each file."""
    labels = file_labels([result.outputs for result in results])
    for kind in dict.fromkeys(kind for result in results for kind in result.tables):
        yield _side_by_side(kind, results, changes, labels)
    for label, result in zip(labels, results, strict=True):
        of = f" of {label}" if len(results) > 1 else ""
        for kind, table in result.tables.items():
            if len(table.datasets) > 1:
                rows = {**table.datasets, f"{MACRO} of {len(table.datasets)}": table.macro}
                yield _headline(f"{kind.capitalize()} confidence{of} by data set", "data set", rows)
            if result.posthoc.get(kind):
                calibrated = {name: found.estimates for name, found in result.posthoc[kind].items()}
                title = f"{kind.capitalize()} confidence{of} beside post-hoc calibration, cross-fitted"
                yield _headline(title, "confidence", {STATED: table.estimates, **calibrated})


def file_labels(outputs: Sequence[Any]) -> list[str]:
    """A short name for each file: its own, or as much of its path as tells them apart."""
    paths = [found.path for found in outputs]
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({number})" for number, path in enumerate(paths, 1)]


def estimate_text(estimate: Estimate, digits: int = 3) -> str:
    """The value with its interval; a dash where it is undefined.

    >>> estimate_text(Estimate(0.5, -1e-9, 0.75)), estimate_text(Estimate(float("nan")))
    ('0.500 [0.000, 0.750]', '–')
    """
    if math.isnan(estimate.value):
        return DASH
    value = f"{estimate.value:z.{digits}f}"
    if math.isnan(estimate.low):
        return value
    return f"{value} [{estimate.low:z.{digits}f}, {estimate.high:z.{digits}f}]"


def _side_by_side(
    kind: str, results: Sequence[Scored], changes: Sequence[Differences], labels: Sequence[str]
) -> Section:
    columns: dict[str, Mapping[str, Estimate]] = {
        label: result.tables[kind].estimates
        for label, result in zip(labels, results, strict=True)
        if kind in result.tables
    }
    for label, change in zip(labels[1:], changes, strict=True):
        if kind in change:
            columns[f"{label} − {labels[0]}"] = change[kind]
    rows = [
        [metric.label, *(estimate_text(column[name], DIGITS.get(name, 3)) for column in columns.values())]
        for name, metric in METRICS.items()
    ]
    shown = [(label, result) for label, result in zip(labels, results, strict=True) if kind in result.tables]
    against = dict.fromkeys(f"`{result.outputs.held_against[kind]}`" for _, result in shown)
    notes = [_counted(label, result.tables[kind]) for label, result in shown]
    notes += [
        f"{label}: no paired difference, since its questions are not exactly those of {labels[0]}"
        for label, change in zip(labels[1:], changes, strict=True)
        if kind not in change
    ]
    notes += [f"{metric.label}: {metric.convention}" for metric in METRICS.values() if "ECE" in metric.label]
    title = f"{kind.capitalize()} confidence, held against {' or '.join(against)}"
    return Section(title, ["metric [95 % interval]", *columns], rows, notes)


def _headline(title: str, first: str, rows: Mapping[str, Mapping[str, Estimate]]) -> Section:
    header = [first, *(METRICS[name].label for name in HEADLINE)]
    return Section(
        title, header, [[name, *(estimate_text(row[key]) for key in HEADLINE)] for name, row in rows.items()]
    )


def _counted(label: str, table: MetricTable) -> str:
    counts: Counts = table.counts
    said = f"{label}: {counts.n} responses to {counts.questions} questions"
    said += f"; {counts.unparsed} without a confidence, {table.absent}" if counts.unparsed else ""
    return said + (f"; {counts.unknown} with an unknown outcome, in no figure that needs one" if counts.unknown else "")


def _datasets(result: Scored) -> Sequence[str]:
    return list(next(iter(result.tables.values())).datasets)


def _figures(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: _numbers(asdict(estimate)) for name, estimate in estimates.items()}


def _numbers(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
