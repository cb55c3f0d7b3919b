"""Reliability diagrams as figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from vlcal.evaluation.metrics.absent import AbsentPolicy, WrongAndUnsure
from vlcal.evaluation.metrics.binning import Binning, EqualWidth
from vlcal.evaluation.metrics.levels import Floats, Rows


@dataclass(frozen=True)
class Reliability:
    """Mean confidence and accuracy per bin that somebody is in, in ascending order.

    Args:
        confidence: Mean confidence of the bin.
        accuracy: Mean outcome of the bin.
        count: Responses in the bin.
        low: Lower end of the interval of the accuracy.
        high: Upper end of it.
    """

    confidence: Floats
    accuracy: Floats
    count: Floats
    low: Floats
    high: Floats


def reliability_curve(
    confidence: ArrayLike,
    correct: ArrayLike,
    binning: Binning = EqualWidth(10),
    level: float = 0.95,
    absent: AbsentPolicy = WrongAndUnsure(),
) -> Reliability:
    """Accuracy against confidence per bin, with Wilson's (1927) interval; empty without a response.

    The interval takes the responses of a bin as independent: with several samples per question it is too narrow.
    """
    levels = Rows(confidence, correct, absent).once()
    count, credit, residual = (
        column[0] for column in binning.sums(levels, levels.count, levels.credit, levels.residual)
    )
    filled = count > 0
    count, accuracy = count[filled], credit[filled] / count[filled]
    low, high = wilson_interval(accuracy, count, level)
    return Reliability(accuracy + residual[filled] / count, accuracy, count, low, high)


def wilson_interval(share: Floats, count: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Interval of a share seen in `count` trials, which never leaves [0, 1]. Wilson (1927)."""
    z = float(ndtri((1 + level) / 2))
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # At 0 and 1 the ends are exactly those, but for rounding.
    return np.where(share == 0, 0.0, centre - half), np.where(share == 1, 1.0, centre + half)
