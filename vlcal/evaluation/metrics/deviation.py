"""Figures that are the size of deviations, such as the gaps of a reliability diagram: noise can only add to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from vlcal.evaluation.metrics.binning import Binning
from vlcal.evaluation.metrics.levels import Floats, Levels, ratio

Norm = Callable[[Floats, Floats], Floats]  # of deviations (B, bins) summed over responses (B or 1, bins), to (B,)


class Deviation(ABC):
    """The figure of some responses, taken apart as far as an interval needs it.

    Deviations of responses add up to those of parts, such as bins: `gather`. What is `seen` of the parts is linear in
    them, and what is seen has a `size`. Whoever wants to know what noise does to the figure can so add it to the parts.
    """

    @abstractmethod
    def gather(self, levels: Levels) -> Floats:
        """Summed deviation of each part, (B, parts), from sums over the same levels with any weights."""

    @abstractmethod
    def figure(self, parts: Floats) -> Floats:
        """The figure that such deviations have, (B,)."""

    @abstractmethod
    def size(self, seen: Floats) -> Floats:
        """Size of what is seen, (B,): as large as that of the responses where the figure is as large."""

    @property
    @abstractmethod
    def most(self) -> Floats:
        """The responses in each part, (parts,), of which none deviates by more than 1."""

    def seen(self, parts: Floats) -> Floats:
        """What the size is taken of, (B, parts)."""
        return parts


class Binned(Deviation):
    """A norm of the gaps of bins.

    Args:
        levels: The responses, (B, K).
        binning: How they are binned.
        norm: Which size of the gaps the figure is.
        target: What the outcomes are compared with, (K,) or (B, 1): the confidence unless given.
        offset: What else is in the figure, (B,).
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

    def figure(self, parts: Floats) -> Floats:
        return self.size(parts) + self._offset

    def size(self, seen: Floats) -> Floats:
        return self._norm(seen, self._count)

    @property
    def most(self) -> Floats:
        most: Floats = self._count[0]
        return most


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
    """Largest gap of a bin that somebody is in."""
    return np.where(count.sum(-1) > 0, _per_response(np.abs(deviation), count).max(-1, initial=0.0), np.nan)


def _per_response(above: Floats, count: Floats) -> Floats:
    return np.divide(above, count, out=np.zeros(above.shape), where=count > 0)
