"""What a metric is: one formula, a name, and everything a reader must know to trust it.

Some metrics are a norm of deviations, such as the gaps of a reliability diagram. Noise can only add to a norm, so their
intervals need the deviations themselves (`inversion`): a `Deviation` gives both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import wraps

import numpy as np
from numpy.typing import ArrayLike

from vlcal.errors import UserError
from vlcal.evaluation.metrics.binning import Binning
from vlcal.evaluation.metrics.levels import Floats, Levels, Rows, ratio
from vlcal.evaluation.metrics.responses import AbsentPolicy, WrongAndUnsure

Norm = Callable[[Floats, Floats], Floats]  # of deviations (B, bins) summed over responses (B or 1, bins), to (B,)


class Better(StrEnum):
    """Which way a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class Metric:
    """A metric of confidences and outcomes, for arrays and, many draws at a time, for the bootstrap.

    Args:
        name: Key in every output, snake_case.
        label: Heading in tables.
        better: Which way it improves.
        low: Smallest value it can take.
        high: Largest value it can take; infinite where nothing bounds it.
        convention: Binning, tie rule or floor, as it is printed under a table.
        of: The formula, from sums per level to one value per draw.
        deviation: For a norm of deviations, what it is made of.
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

    def __call__(
        self,
        confidence: ArrayLike,
        correct: ArrayLike,
        absent: AbsentPolicy = WrongAndUnsure(),
        question: ArrayLike | None = None,
    ) -> float:
        """The value over these responses; NaN where it is undefined.

        A row whose outcome is NaN is left out; one whose confidence is NaN is scored as `absent` says. Without
        `question`, the id of what each response answers, every response is to a question of its own.

        Raises:
            UserError: If the arrays differ in length or hold something outside [0, 1].
        """
        number = None if question is None else np.unique(np.asarray(question), return_inverse=True)[1]
        return float(self.of(Rows(confidence, correct, absent, number).once())[0])


def metric(
    label: str, better: Better, convention: str, low: float = 0.0, high: float = 1.0
) -> Callable[[Callable[[Levels], Floats]], Metric]:
    """A formula on `Levels` as a `Metric` of the same name."""
    if not low < high or math.isnan(low + high):
        raise UserError(f"`low` must be less than `high`, the ends of the range; got {low} and {high}.")

    def named(of: Callable[[Levels], Floats]) -> Metric:
        return Metric(of.__name__, label, better, low, high, convention, of)

    return named


def deviation_metric(
    label: str, better: Better, convention: str, low: float = 0.0, high: float = 1.0
) -> Callable[[Callable[[Levels], Deviation]], Metric]:
    """A deviation of `Levels` as a `Metric` of the same name."""

    def named(deviation: Callable[[Levels], Deviation]) -> Metric:
        @wraps(deviation)
        def of(levels: Levels) -> Floats:
            of_levels = deviation(levels)
            return of_levels.value(of_levels.gather(levels))

        return replace(metric(label, better, convention, low, high)(of), deviation=deviation)

    return named


class Deviation(ABC):
    """A metric of some responses, split into the steps that an interval needs.

    The deviations of responses add up to those of parts, such as bins: `gather`. `transform` is linear in the parts,
    and `norm` is taken of the result. Noise can therefore be added to the parts.
    """

    @abstractmethod
    def gather(self, levels: Levels) -> Floats:
        """Summed deviation of each part, (B, parts), from sums over the same levels with any weights."""

    @abstractmethod
    def value(self, parts: Floats) -> Floats:
        """The metric of such deviations, (B,)."""

    @abstractmethod
    def norm(self, transformed: Floats) -> Floats:
        """Norm of the transformed parts, (B,): at least that of the responses if and only if the metric is."""

    @property
    @abstractmethod
    def bound(self) -> Floats:
        """The responses in each part, (parts,), none of which deviates by more than 1."""

    def transform(self, parts: Floats) -> Floats:
        """What the norm is taken of, (B, parts)."""
        return parts


class Binned(Deviation):
    """A norm of the gaps of bins.

    Args:
        levels: The responses, (B, K).
        binning: How they are binned.
        norm: Of the gaps.
        target: What the outcomes are compared with, (K,) or (B, 1): the confidence unless given.
        offset: Added to the norm, (B,).
    """

    def __init__(
        self, levels: Levels, binning: Binning, norm: Norm, target: Floats | None = None, offset: Floats | float = 0.0
    ) -> None:
        self._levels, self._binning, self._norm, self._offset = levels, binning, norm, offset
        self._target = levels.value if target is None else target
        (self._count,) = binning.sums(levels, levels.count)

    def gather(self, levels: Levels) -> Floats:
        (parts,) = self._binning.sums(self._levels, levels.count * self._target - levels.credit)
        return parts

    def value(self, parts: Floats) -> Floats:
        return self.norm(parts) + self._offset

    def norm(self, transformed: Floats) -> Floats:
        return self._norm(transformed, self._count)

    @property
    def bound(self) -> Floats:
        bound: Floats = self._count[0]
        return bound


def mean_absolute(deviation: Floats, count: Floats) -> Floats:
    """Absolute gap, averaged over responses."""
    return ratio(np.abs(deviation).sum(-1), count.sum(-1))


def mean_square(deviation: Floats, count: Floats) -> Floats:
    """Squared gap, averaged over responses."""
    return ratio(_per_response(deviation**2, count).sum(-1), count.sum(-1))


def root_mean_square(deviation: Floats, count: Floats) -> Floats:
    """Root of the squared gap, averaged over responses."""
    return np.sqrt(mean_square(deviation, count))


def largest(deviation: Floats, count: Floats) -> Floats:
    """Largest gap of a bin that is not empty."""
    return np.where(count.sum(-1) > 0, _per_response(np.abs(deviation), count).max(-1, initial=0.0), np.nan)


def _per_response(above: Floats, count: Floats) -> Floats:
    return np.divide(above, count, out=np.zeros(above.shape), where=count > 0)
