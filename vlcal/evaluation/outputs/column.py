"""The columns of a sheet as numbers, verdicts, names or texts, and the scale that confidences are written on."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlcal.errors import UserError
from vlcal.evaluation.outputs.sheet import Sheet
from vlcal.json_rows import cell_text

Floats = NDArray[np.float64]
Names = NDArray[np.str_]

ABSENT = {"", "nan", "null", "none", "na", "n/a"}
TRUTHS = {"true": 1.0, "false": 0.0}
TOPS = (1, 10, 100)
LONGEST_NAME = 64  # characters: a column of names costs as much per row as its longest one


def confidence_column(sheet: Sheet, name: str) -> Floats:
    """The numbers as they were written; NaN where there is none.

    Raises:
        UserError: If something is no finite number; names file, row and column.
    """
    values = np.full(len(sheet), np.nan)
    for row, cell in enumerate(sheet[name]):
        number = None if isinstance(only_of(cell), bool) else number_of(cell)
        if number is None or math.isinf(number):
            rule = "a confidence must be a finite number, or empty where absent"
            raise sheet.refusal(row, name, f"{rule}; got {cell!r:.80}.")
        values[row] = number
    return values


def verdict_column(sheet: Sheet, name: str) -> Floats:
    """How right each row was, in [0, 1]; NaN where unknown.

    Raises:
        UserError: If something is neither a number in [0, 1] nor true or false; names file, row and column.
    """
    values = np.full(len(sheet), np.nan)
    for row, cell in enumerate(sheet[name]):
        verdict = verdict_of(cell)
        if verdict is None:
            rule = "a verdict must be a number in [0, 1], true or false, or empty where unknown"
            raise sheet.refusal(row, name, f"{rule}; got {cell!r:.80}.")
        values[row] = verdict
    return values


def name_column(sheet: Sheet, column: str) -> Names:
    """Short names, the same for 7, 7.0 and "7 " in any file: what is long is replaced by its digest.

    Raises:
        UserError: If one is empty; names file, row and column.
    """
    found = []
    for row, cell in enumerate(sheet[column]):
        name = "" if cell is None or cell != cell else cell_text(cell)  # the second: NaN, an empty cell among numbers
        if not name:
            raise sheet.refusal(row, column, "a name must not be empty.")
        long = len(name) > LONGEST_NAME
        found.append(hashlib.blake2b(name.encode(errors="replace"), digest_size=16).hexdigest() if long else name)
    return np.array(found, np.str_)


def text_column(sheet: Sheet, name: str) -> list[str]:
    """The texts; an empty cell is an empty text, and a cell that Excel took for a number is its digits.

    Raises:
        UserError: If a cell holds several; names file, row and column.
    """
    found = []
    for row, cell in enumerate(sheet[name]):
        text = only_of(cell)
        if isinstance(text, list | Mapping):
            raise sheet.refusal(row, name, f"a text is asked for; got {text!r:.80}.")
        found.append("" if text is None else str(text))
    return found


def only_of(cell: Any) -> Any:
    """What a cell holds, without the lists of one item around it.

    >>> only_of([[0.7]]), only_of([1, 2]), only_of("yes")
    (0.7, [1, 2], 'yes')
    """
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    return cell


def number_of(cell: Any) -> float | None:
    """The number in a cell, NaN where it is empty, None where it is something else.

    >>> number_of("0.7"), number_of([0.7]), number_of(" "), number_of("sure")
    (0.7, 0.7, nan, None)
    """
    cell = only_of(cell)
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
    try:
        return float(cell) if isinstance(cell, int | float) else None
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf if cell > 0 else -math.inf


def verdict_of(cell: Any) -> float | None:
    """The verdict in a cell, NaN where it is empty, None where it is something else.

    >>> verdict_of(True), verdict_of("False"), verdict_of([0.5]), verdict_of(2)
    (1.0, 0.0, 0.5, None)
    """
    cell = only_of(cell)
    if isinstance(cell, str) and cell.strip().lower() in TRUTHS:
        return TRUTHS[cell.strip().lower()]
    number = number_of(cell)
    return number if number is not None and (math.isnan(number) or 0 <= number <= 1) else None


class Scale(ABC):
    """From the numbers of a file to confidences in [0, 1]."""

    @property
    def declared(self) -> int | None:
        """What full confidence is written as, where it was declared."""
        return None

    @abstractmethod
    def __call__(self, sheet: Sheet, written: Mapping[str, Floats]) -> dict[str, Floats]:
        """The columns, by name, as confidences in [0, 1].

        Raises:
            UserError: If a number lies outside the scale or the scale is not plain; names file, row and column.
        """


class DeclaredScale(Scale):
    """Numbers from 0 to a declared top.

    Args:
        top: What full confidence is written as: 1, 10 or 100.
    """

    def __init__(self, top: int) -> None:
        if top not in TOPS:
            raise UserError(f"`scale` must be 1, 10 or 100, what full confidence is written as; got {top}.")
        self.top = top

    @property
    def declared(self) -> int:
        return self.top

    def __call__(self, sheet: Sheet, written: Mapping[str, Floats]) -> dict[str, Floats]:
        """Every number divided by the top."""
        for name, values in written.items():
            _refuse_outside(sheet, name, values, self.top)
            if self.top > 1 and _has_fractions(values) and not (values > 1).any():
                raise UserError(
                    f"{sheet.path}: column `{name}` has fractions and nothing above 1, as on a scale of 0 to 1; got "
                    f"--scale {self.top}, which would squash it. Score what is on another scale apart, or rescale it."
                )
        return {name: values / self.top for name, values in written.items()}


class PlainScale(Scale):
    """An undeclared scale: numbers with a fraction, none above 1, are 0 to 1; anything else is refused."""

    def __call__(self, sheet: Sheet, written: Mapping[str, Floats]) -> dict[str, Floats]:
        """Every number as it is."""
        for name, values in written.items():
            _refuse_outside(sheet, name, values, np.inf)
            if (above := np.flatnonzero(values > 1)).size:
                why = (
                    f"{values[above[0]]:g} is above 1, and no scale is declared. Declare it: --scale 10 or --scale 100."
                )
                raise sheet.refusal(int(above[0]), name, why)
        stated = [values[~np.isnan(values)] for values in written.values()]
        if any(map(len, stated)) and not any(map(_has_fractions, stated)):
            raise UserError(
                f"{sheet.path}: every confidence in `{'`, `'.join(written)}` is 0 or 1, which may be the ends of one "
                "scale or the low end of another. Say it: --scale 1, --scale 10 or --scale 100."
            )
        return dict(written)


def _has_fractions(values: Floats) -> bool:
    return bool(((values > 0) & (values < 1)).any())


def _refuse_outside(sheet: Sheet, name: str, values: Floats, top: float) -> None:
    outside = np.flatnonzero((values < 0) | (values > top))
    if outside.size:
        row = int(outside[0])
        scale = "a confidence must not be negative" if values[row] < 0 else f"the scale goes from 0 to {top:g}"
        raise sheet.refusal(row, name, f"{scale}; got {values[row]:g}. Correct the row or say another --scale.")
