"""Ways to group confidences into bins; every metric with bins names its own."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from vlcal.errors import UserError
from vlcal.evaluation.metrics.levels import Floats, Levels, segment_sums

NUDGE = 1e-6  # puts a level on an edge into the bin that starts there, however its division by ten was rounded


class Binning(ABC):
    """Assigns each distinct confidence to a bin."""

    @abstractmethod
    def sums(self, levels: Levels, *columns: Floats) -> tuple[Floats, ...]:
        """Each column summed over the bins, (B, bins); an empty bin may be missing.

        Args:
            levels: What is binned, of B rows or of one for all rows of the columns.
            columns: Sums over its levels, (B, K).
        """


class FixedBinning(Binning):
    """Bins whose edges do not depend on the data."""

    @abstractmethod
    def index(self, value: Floats) -> NDArray[np.intp]:
        """The bin of each confidence, (K,), ascending."""

    def sums(self, levels: Levels, *columns: Floats) -> tuple[Floats, ...]:
        starts = starts_of(self.index(levels.value))
        return tuple(segment_sums(column, starts) for column in columns)


class EqualWidth(FixedBinning):
    """Bins of equal width over [0, 1], each with its lower edge, the last with 1.0 too.

    Args:
        bins: How many, at least 1.
    """

    def __init__(self, bins: int = 10) -> None:
        self.bins = checked(bins)

    def index(self, value: Floats) -> NDArray[np.intp]:
        return np.minimum(np.floor((value + NUDGE) * self.bins), self.bins - 1).astype(np.intp)


class Nearest(FixedBinning):
    """One bin around each of `steps` + 1 levels from 0 to 1: exact where only those levels are stated.

    Args:
        steps: How many steps there are from 0 to 1, at least 1.
    """

    def __init__(self, steps: int = 100) -> None:
        self.steps = checked(steps)

    def index(self, value: Floats) -> NDArray[np.intp]:
        return np.floor(value * self.steps + 0.5).astype(np.intp)


class PerValue(FixedBinning):
    """One bin for each distinct confidence."""

    def index(self, value: Floats) -> NDArray[np.intp]:
        return np.arange(len(value))

    def sums(self, levels: Levels, *columns: Floats) -> tuple[Floats, ...]:
        return columns


class EqualMass(Binning):
    """Bins with as equal a number of responses as is possible while equal confidences stay in one bin.

    Equal confidences share the bin of their middle rank, so the order of the rows changes nothing; some bins may stay
    empty. Every draw of a bootstrap has its own edges.

    Args:
        bins: How many, at least 1.
    """

    def __init__(self, bins: int = 10) -> None:
        self.bins = checked(bins)

    def sums(self, levels: Levels, *columns: Floats) -> tuple[Floats, ...]:
        count = levels.count.astype(np.int64)
        twice_rank = 2 * np.cumsum(count, -1) - count
        # A level that no response of a draw states may have the rank behind the last.
        index = np.minimum(twice_rank * self.bins // np.maximum(2 * count.sum(-1, keepdims=True), 1), self.bins - 1)
        return tuple(self._summed(column, index) for column in columns)

    def _summed(self, column: Floats, index: NDArray[np.int64]) -> Floats:
        rows = len(column)
        flat = index + self.bins * np.arange(rows)[:, None]
        summed: Floats = np.bincount(flat.ravel(), column.ravel(), rows * self.bins).astype(np.float64)
        return summed.reshape(rows, self.bins)


class FullBins(Binning):
    """Bins of a given number of responses each, by rising confidence, up to the last full one, which is left out.

    Equal confidences that an edge parts are shared between the two bins in proportion, as in random order on average.

    Args:
        size: Responses in each bin, at least 1.
    """

    def __init__(self, size: int = 100) -> None:
        self.size = checked(size)

    def sums(self, levels: Levels, *columns: Floats) -> tuple[Floats, ...]:
        if not len(levels.value):
            return tuple(column[:, :0] for column in columns)
        ends = np.cumsum(levels.count, -1)
        kept = np.maximum(ends[:, -1:] // self.size - 1, 0)
        edges = self.size * np.minimum(np.arange(int(kept.max()) + 1), kept)
        at = np.array([np.searchsorted(row, edge) for row, edge in zip(ends, edges, strict=True)])
        count = np.take_along_axis(levels.count, at, -1)
        ahead = edges - np.take_along_axis(ends, at, -1) + count
        share = np.divide(ahead, count, out=np.zeros(count.shape), where=count > 0)
        return tuple(self._summed(column, at, share) for column in columns)

    def _summed(self, column: Floats, at: NDArray[np.intp], share: Floats) -> Floats:
        at = np.broadcast_to(at, (len(column), at.shape[-1]))
        before = np.take_along_axis(np.cumsum(column, -1) - column, at, -1)
        summed: Floats = np.diff(before + share * np.take_along_axis(column, at, -1))
        return summed


def starts_of(index: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where each bin of an ascending index begins."""
    return np.flatnonzero(np.diff(index, prepend=-1))


def checked(bins: int) -> int:
    """The number of bins, once it is known to be valid.

    Raises:
        UserError: If it is less than 1.
    """
    if bins < 1:
        raise UserError(f"`bins` must be at least 1; got {bins}. Ten is usual.")
    return bins
