"""Proper scores: smallest in expectation for the true probability."""

from __future__ import annotations

import numpy as np

from vlcal.evaluation.metrics.binning import Nearest
from vlcal.evaluation.metrics.levels import Floats, Levels, ratio
from vlcal.evaluation.metrics.metric import Better, Binned, Deviation, deviation_metric, mean_square, metric

FLOOR = 1e-3  # smallest probability that the log loss charges, as in `scores.LogScore`

HUNDREDTHS = Nearest(100)


@metric("Brier", Better.LOWER, "mean squared gap, no bins")
def brier(levels: Levels) -> Floats:
    """Mean squared gap of confidence and outcome. Brier (1950)."""
    value = levels.value
    squares = levels.count @ value**2 - 2 * (levels.credit @ value) + levels.square.sum(-1)
    return ratio(np.maximum(squares, 0.0), levels.total)


@deviation_metric(
    "Brier reliability", Better.LOWER, "bins of the nearest hundredth: exact for levels of 0-10 and 0-100"
)
def brier_reliability(levels: Levels) -> Deviation:
    """Mean squared gap of mean confidence and accuracy in a bin. Murphy (1973)."""
    return Binned(levels, HUNDREDTHS, mean_square)


@deviation_metric(
    "Brier resolution", Better.HIGHER, "what makes Brier = reliability - resolution + uncertainty exact", -1.0, 0.25
)
def brier_resolution(levels: Levels) -> Deviation:
    """Spread of the accuracies of the bins, mean of (accuracy of the bin - accuracy)^2. Murphy (1973).

    Where a bin holds different confidences, their spread inside it is included, so that the three terms always add up
    to the Brier score: the generalised resolution of Stephenson, Coelho and Jolliffe (2008).
    """
    accuracy = ratio(levels.credit.sum(-1), levels.total)[:, None]
    between = Binned(levels, HUNDREDTHS, mean_square, accuracy)
    both = brier_reliability.of(levels) + brier_uncertainty.of(levels) - brier.of(levels)
    return Binned(levels, HUNDREDTHS, mean_square, accuracy, both - between.value(between.gather(levels)))


@metric("Brier uncertainty", Better.NEITHER, "variance of the outcome, accuracy (1 - accuracy)", high=0.25)
def brier_uncertainty(levels: Levels) -> Floats:
    """Variance of the outcomes, which no confidence can change. Murphy (1973)."""
    mean, square = ratio(levels.credit.sum(-1), levels.total), ratio(levels.square.sum(-1), levels.total)
    return np.maximum(square - mean**2, 0.0)


@metric("log loss", Better.LOWER, "nats, no probability below 0.001", high=-float(np.log(FLOOR)))
def log_loss(levels: Levels) -> Floats:
    """Mean negative log-likelihood of the outcome. Good (1952)."""
    right, wrong = np.log(np.clip(levels.value, FLOOR, 1)), np.log(np.clip(1 - levels.value, FLOOR, 1))
    return ratio(-(levels.credit @ right + (levels.count - levels.credit) @ wrong), levels.total)
