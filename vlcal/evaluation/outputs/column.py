"""One column of a sheet as numbers, verdicts or names."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.outputs.sheet import Sheet

Floats = NDArray[np.float64]
Names = NDArray[np.str_]

ABSENT = {"", "nan", "null", "none", "na", "n/a"}
TRUTHS = {"true": 1.0, "false": 0.0}
LONGEST_NAME = 64  # characters: a column of names costs as much per row as its longest one


def confidence_column(sheet: Sheet, name: str) -> Floats:
    """The numbers as they were written; NaN where there is none.

    Raises:
        ValueError: If something is no finite number; names file, row and column.
    """
    values = np.full(len(sheet), np.nan)
    for row, cell in enumerate(sheet[name]):
        number = None if isinstance(cell, bool) else number_of(cell)
        if number is None or math.isinf(number):
            rule = "a confidence must be a finite number, or empty where absent"
            raise sheet.refusal(row, name, f"{rule}; got {cell!r}.")
        values[row] = number
    return values


def verdict_column(sheet: Sheet, name: str) -> Floats:
    """How right each row was, in [0, 1]; NaN where nobody knows.

    Raises:
        ValueError: If something is neither a number in [0, 1] nor true or false; names file, row and column.
    """
    values = np.full(len(sheet), np.nan)
    for row, cell in enumerate(sheet[name]):
        verdict = verdict_of(cell)
        if verdict is None:
            rule = "a verdict must be a number in [0, 1], true or false, or empty where unknown"
            raise sheet.refusal(row, name, f"{rule}; got {cell!r}.")
        values[row] = verdict
    return values


def name_column(sheet: Sheet, column: str) -> Names:
    """Short names, the same for equal values in any file: what is long is replaced by its digest.

    Raises:
        ValueError: If one is empty; names file, row and column.
    """
    found = []
    for row, cell in enumerate(sheet[column]):
        name = "" if cell is None else str(cell)
        if not name:
            raise sheet.refusal(row, column, "a name must not be empty.")
        long = len(name) > LONGEST_NAME
        found.append(hashlib.blake2b(name.encode(errors="replace"), digest_size=16).hexdigest() if long else name)
    return np.array(found, np.str_)


def number_of(cell: Any) -> float | None:
    """The number in a cell, NaN where it is empty, None where it is something else.

    >>> number_of("0.7"), number_of(" "), number_of("sure")
    (0.7, nan, None)
    """
    if cell is None:
        return math.nan
    if isinstance(cell, str):
        text = cell.strip().lower()
        if text in ABSENT:
            return math.nan
        try:
            return float(text)
        except ValueError:
            return None
    return float(cell) if isinstance(cell, int | float) else None


def verdict_of(cell: Any) -> float | None:
    """The verdict in a cell, NaN where it is empty, None where it is something else.

    >>> verdict_of(True), verdict_of("False"), verdict_of(0.5), verdict_of(2)
    (1.0, 0.0, 0.5, None)
    """
    if isinstance(cell, str) and cell.strip().lower() in TRUTHS:
        return TRUTHS[cell.strip().lower()]
    number = number_of(cell)
    return number if number is not None and (math.isnan(number) or 0 <= number <= 1) else None
