"""What results are shown as, before they are written in any format: cells, tables, figures, sections."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vlcal.errors import UserError
from vlcal.evaluation.metrics import METRICS, Better
from vlcal.evaluation.metrics.table import Contrast, Estimate

ABSENT = "–"
WHOLE = {"distinct_values"}  # metrics that count
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """A number in a table.

    Args:
        text: The number.
        note: What is printed smaller beside it, for example its interval.
        strong: Whether it stands out: its interval does not contain 0.
    """

    text: str
    note: str = ""
    strong: bool = False


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first cell of each names the row.

    Args:
        caption: What it shows.
        head: Name of each column.
        rows: As many cells each.
        accents: For each column the number of the run it belongs to, None where to none.
        notes: What a reader must know to trust it, printed below.

    Raises:
        UserError: If a row has more or fewer cells than the head.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    accents: tuple[int | None, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = [len(row) for row in self.rows if len(row) != len(self.head)]
        if wrong:
            raise UserError(f"`rows` must hold {len(self.head)} cells like the head; got {wrong[0]}.")


@dataclass(frozen=True)
class Figure:
    """A drawing with the numbers behind it.

    Args:
        caption: What it shows.
        svg: The drawing, in colours that are CSS variables.
        numbers: The same as a table, for readers who cannot see the drawing.
        run: Number of the run whose accent it has; None where it shows several.
        note: A line of numbers under the caption.
    """

    caption: str
    svg: str
    numbers: Table
    run: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report: figures, then tables, then tables to unfold.

    Args:
        name: Its anchor.
        title: Its heading.
        lead: How to read it, in a few sentences.
        figures: Drawings.
        tables: Tables that are open.
        folded: Tables that unfold.
        columns: Figures side by side where there is room.
        legend: Whether the names of the runs are shown with their colours.
    """

    name: str
    title: str
    lead: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    columns: int = 3
    legend: bool = False


def number(value: float, signed: bool = False) -> str:
    """Three decimals, with a true minus sign; a dash where it is undefined.

    >>> number(0.25), number(-0.0001), number(0.5, signed=True), number(float("nan"))
    ('0.250', '0.000', '+0.500', '–')
    """
    if not math.isfinite(value):
        return ABSENT
    rounded = round(value, 3) or 0.0  # no sign before a zero
    text = f"{rounded:+.3f}" if signed and rounded else f"{rounded:.3f}"
    return text.replace("-", MINUS)


def count(value: float, signed: bool = False) -> str:
    """A whole number with separators between thousands, and a true minus sign.

    >>> count(12345)
    '12,345'
    """
    text = f"{value:+,.0f}" if signed and round(value) else f"{value:,.0f}"
    return text.replace("-", MINUS)


def estimate_cell(estimate: Estimate, metric: str) -> Cell:
    """An estimate with its interval."""
    if metric in WHOLE and math.isfinite(estimate.value):
        return Cell(count(estimate.value), _interval(estimate, count))
    return Cell(number(estimate.value), _interval(estimate, number))


def difference_cell(estimate: Contrast, metric: str) -> Cell:
    """A difference with its interval and what could be detected; strong, and called better or worse, beyond 0."""
    beyond = estimate.low > 0 or estimate.high < 0
    verdict = _verdict(estimate.value, METRICS[metric].better) if beyond else ""
    printed = partial(count if metric in WHOLE else number, signed=True)
    note = ", ".join(part for part in (_interval(estimate, printed), verdict) if part)
    note += "" if math.isnan(estimate.detectable) else f"; detectable {number(estimate.detectable)}"
    return Cell(printed(estimate.value), note, beyond)


def plain_cell(value: Any) -> Cell:
    """Any JSON value as text."""
    if value is None:
        return Cell(ABSENT)
    if isinstance(value, float):
        return Cell(number(value))
    return Cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _interval(estimate: Estimate, printed: Callable[[float], str]) -> str:
    return "" if math.isnan(estimate.low) else f"{printed(estimate.low)} to {printed(estimate.high)}"


_IMPROVES = {Better.HIGHER: 1, Better.LOWER: -1, Better.NEITHER: 0}


def _verdict(difference: float, better: Better) -> str:
    return {1: "better", -1: "worse"}.get(int(math.copysign(1, difference)) * _IMPROVES[better], "")
