"""The scale that confidences were written on: said by whoever knows, or plain from the numbers; never guessed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from vlcal.evaluation.outputs.column import Floats
from vlcal.evaluation.outputs.sheet import Sheet

TOPS = (1, 10, 100)


class Scale(ABC):
    """From the numbers of a file to confidences in [0, 1]."""

    @property
    def declared(self) -> int | None:
        """What full confidence is written as, where somebody said it."""
        return None

    @abstractmethod
    def __call__(self, sheet: Sheet, written: Mapping[str, Floats]) -> dict[str, Floats]:
        """The columns, by name, as confidences in [0, 1].

        Raises:
            ValueError: If a number lies outside the scale or the scale is not plain; names file, row and column.
        """


class DeclaredScale(Scale):
    """Numbers from 0 to a top that somebody said.

    Args:
        top: What full confidence is written as: 1, 10 or 100.
    """

    def __init__(self, top: int) -> None:
        if top not in TOPS:
            raise ValueError(f"`scale` must be 1, 10 or 100, what full confidence is written as; got {top}.")
        self.top = top

    @property
    def declared(self) -> int:
        return self.top

    def __call__(self, sheet: Sheet, written: Mapping[str, Floats]) -> dict[str, Floats]:
        """Every number divided by the top."""
        for name, values in written.items():
            _refuse_outside(sheet, name, values, self.top)
            if self.top > 1 and _has_fractions(values) and not (values > 1).any():
                raise ValueError(
                    f"{sheet.path}: column `{name}` has fractions and nothing above 1, as on a scale of 0 to 1; got "
                    f"--scale {self.top}, which would squash it. Score what is on another scale apart, or rescale it."
                )
        return {name: values / self.top for name, values in written.items()}


class PlainScale(Scale):
    """Nobody said the scale: numbers with a fraction, none above 1, are 0 to 1; anything else is refused."""

    def __call__(self, sheet: Sheet, written: Mapping[str, Floats]) -> dict[str, Floats]:
        """Every number as it is."""
        for name, values in written.items():
            _refuse_outside(sheet, name, values, np.inf)
            if (above := np.flatnonzero(values > 1)).size:
                why = f"{values[above[0]]:g} is above 1, and nobody said the scale. Say it: --scale 10 or --scale 100."
                raise sheet.refusal(int(above[0]), name, why)
        stated = [values[~np.isnan(values)] for values in written.values()]
        if any(map(len, stated)) and not any(map(_has_fractions, stated)):
            raise ValueError(
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
