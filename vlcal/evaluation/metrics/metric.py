"""What a metric is: one formula, a name, and everything a reader must know to trust it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import wraps

from numpy.typing import ArrayLike

from vlcal.evaluation.metrics.absent import AbsentPolicy, WrongAndUnsure
from vlcal.evaluation.metrics.deviation import Deviation
from vlcal.evaluation.metrics.levels import Floats, Levels, Rows


class Better(StrEnum):
    """Which way a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class Metric:
    """A figure of confidences and outcomes, for arrays and, many draws at a time, for the bootstrap.

    Args:
        name: Key in every output, snake_case.
        label: Heading in tables.
        better: Which way it improves.
        low: Smallest value it can take.
        high: Largest value it can take; infinite where nothing bounds it.
        convention: Binning, tie rule or floor, in the words that stand under a table.
        of: The formula, from sums per level to one value per draw.
        deviation: Where the figure is a size of deviations, what it is made of.
    """

    name: str
    label: str
    better: Better
    low: float
    high: float
    convention: str
    of: Callable[[Levels], Floats]
    deviation: Callable[[Levels], Deviation] | None = None

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return self.low, self.high

    def __call__(self, confidence: ArrayLike, correct: ArrayLike, absent: AbsentPolicy = WrongAndUnsure()) -> float:
        """The figure of these responses; NaN where it is undefined.

        A row whose outcome is NaN is left out; one whose confidence is NaN is scored as `absent` says.

        Raises:
            ValueError: If the arrays differ in length or hold something outside [0, 1].
        """
        return float(self.of(Rows(confidence, correct, absent).once())[0])


def metric(
    label: str, better: Better, convention: str, low: float = 0.0, high: float = 1.0
) -> Callable[[Callable[[Levels], Floats]], Metric]:
    """A formula on `Levels` as a `Metric` of the same name."""
    if not low < high or math.isnan(low + high):
        raise ValueError(f"`low` must be less than `high`, the ends of the range; got {low} and {high}.")

    def named(of: Callable[[Levels], Floats]) -> Metric:
        return Metric(of.__name__, label, better, low, high, convention, of)

    return named


def deviation_metric(
    label: str, better: Better, convention: str, low: float = 0.0, high: float = 1.0
) -> Callable[[Callable[[Levels], Deviation]], Metric]:
    """A deviation of `Levels` as a `Metric` of the same name: the figure is its size."""

    def named(deviation: Callable[[Levels], Deviation]) -> Metric:
        @wraps(deviation)
        def of(levels: Levels) -> Floats:
            found = deviation(levels)
            return found.figure(found.gather(levels))

        return replace(metric(label, better, convention, low, high)(of), deviation=deviation)

    return named
