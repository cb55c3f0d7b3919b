"""Figures as they are printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from vlcal.evaluation.metrics import METRICS
from vlcal.evaluation.metrics.metric import Better
from vlcal.evaluation.report.content import Cell
from vlcal.evaluation.table import Estimate

ABSENT = "–"
WHOLE = {"distinct_values"}  # metrics that count
MINUS = "\N{MINUS SIGN}"


def number(value: float, signed: bool = False) -> str:
    """Three decimals, with a true minus sign; a dash where there is nothing."""
    if not math.isfinite(value):
        return ABSENT
    rounded = round(value, 3) or 0.0  # no sign before a zero
    text = f"{rounded:+.3f}" if signed and rounded else f"{rounded:.3f}"
    return text.replace("-", MINUS)


def count(value: float, signed: bool = False) -> str:
    """A whole number with separators between thousands, and a true minus sign."""
    text = f"{value:+,.0f}" if signed and round(value) else f"{value:,.0f}"
    return text.replace("-", MINUS)


def estimate_cell(estimate: Estimate, metric: str) -> Cell:
    """A figure over its interval."""
    if metric in WHOLE and math.isfinite(estimate.value):
        return Cell(count(estimate.value), _interval(estimate, count))
    return Cell(number(estimate.value), _interval(estimate, number))


def difference_cell(estimate: Estimate, metric: str) -> Cell:
    """A difference over its interval; strong, and called better or worse, where the interval leaves out 0."""
    beyond = estimate.low > 0 or estimate.high < 0
    verdict = _verdict(estimate.value, METRICS[metric].better) if beyond else ""
    printed = partial(count if metric in WHOLE else number, signed=True)
    note = ", ".join(part for part in (_interval(estimate, printed), verdict) if part)
    return Cell(printed(estimate.value), note, beyond)


def plain_cell(value: Any) -> Cell:
    """Whatever a probe found, as text."""
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
