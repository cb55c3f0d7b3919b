"""Calibration errors and the reliability curve: how far confidences are from the accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import dct
from scipy.special import ndtri

from vlcal.evaluation.metrics.binning import Binning, EqualMass, EqualWidth, FullBins, PerValue, starts_of
from vlcal.evaluation.metrics.levels import Floats, Levels, Rows, ratio, segment_sums
from vlcal.evaluation.metrics.metric import (
    Better,
    Binned,
    Deviation,
    deviation_metric,
    largest,
    mean_absolute,
    mean_square,
    root_mean_square,
)
from vlcal.evaluation.metrics.responses import AbsentPolicy, WrongAndUnsure

CELLS = 500  # of the grid of smooth ECE
PRECISION, MOST_STEPS = 1e-9, 50  # of the search for its bandwidth, which takes about ten steps

WIDTHS = EqualWidth(10)
MASSES = EqualMass(10)
VALUES = PerValue()
HUNDREDS = FullBins(100)


@deviation_metric("ECE, equal width", Better.LOWER, "10 bins of equal width, each with its lower edge, 1.0 in the last")
def ece_equal_width(levels: Levels) -> Deviation:
    """ECE = sum_B n_B / n |c_B - a_B|, c_B the mean confidence and a_B the accuracy of a bin. Naeini et al. (2015)."""
    return Binned(levels, WIDTHS, mean_absolute)


@deviation_metric("ECE, equal mass", Better.LOWER, "10 bins of equal mass, equal confidences kept together")
def ece_equal_mass(levels: Levels) -> Deviation:
    """The same over bins of as many responses each. Nguyen and O'Connor (2015)."""
    return Binned(levels, MASSES, mean_absolute)


@deviation_metric("ECE, per value", Better.LOWER, "one bin per distinct confidence")
def ece_per_value(levels: Levels) -> Deviation:
    """The same with a bin for every distinct confidence: exact for a few levels, near 2 c (1 - c) for a continuum."""
    return Binned(levels, VALUES, mean_absolute)


@deviation_metric("MCE", Better.LOWER, "largest gap of the 10 bins of equal width, however few are in it")
def mce(levels: Levels) -> Deviation:
    """Largest gap of mean confidence and accuracy in a bin. Naeini et al. (2015)."""
    return Binned(levels, WIDTHS, largest)


@deviation_metric("RMSCE", Better.LOWER, "root mean square over the 10 bins of equal width")
def rmsce(levels: Levels) -> Deviation:
    """Root of the mean squared gap, weighted by responses. Kumar, Liang and Ma (2019), the l2 calibration error."""
    return Binned(levels, WIDTHS, root_mean_square)


@deviation_metric(
    "HLE calibration error",
    Better.LOWER,
    "root mean square over bins of 100 responses, the last of them left out; undefined below 200 responses",
)
def hle_calibration_error(levels: Levels) -> Deviation:
    """sqrt(sum_B 100 / n (c_B - a_B)^2) over bins of 100 responses by rising confidence. Phan et al. (2025).

    What is quoted beside scores of Humanity's Last Exam. Its script, `calib_err` of Hendrycks et al. (2019) with p = 2
    and beta = 100, sums over all bins but the last, which holds the remainder of n / 100 too, and divides by all n.
    Where confidences tie across an edge it depends on the order of the rows; here on none.
    """
    return Binned(levels, HUNDREDS, partial(_root_mean_square_of_all, levels.total))


def _root_mean_square_of_all(total: Floats, deviation: Floats, count: Floats) -> Floats:
    """Root of the squared gaps of the bins, averaged over all responses; NaN where there is no bin."""
    squared = mean_square(deviation, count) * count.sum(-1)
    return np.sqrt(ratio(squared, total))


@deviation_metric(
    "smooth ECE", Better.LOWER, "reflected Gaussian kernel, bandwidth equal to the error itself, grid of 1/500"
)
def smooth_ece(levels: Levels) -> Deviation:
    """Calibration error of the kernel-smoothed residual, at the bandwidth that equals it. Blasiok and Nakkiran (2023).

    smECE_s = integral over [0, 1] of |1/n sum_i (y_i - c_i) K_s(t, c_i)| with K_s the Gaussian of deviation s,
    reflected at 0 and 1; the metric is the s with smECE_s = s. The reflected Gaussian is the heat kernel of an
    insulated rod, so smoothing multiplies the m-th cosine coefficient by exp(-(pi m s)^2 / 2).
    """
    return Smoothed(levels)


class Smoothed(Deviation):
    """The residual as masses on the nodes of a grid, smoothed by a Gaussian as wide as the metric.

    The smoothed error falls as its bandwidth grows, and the metric is where the two are equal. So the metric of any
    masses is at least this one if and only if their error at this bandwidth is.

    Args:
        levels: The responses, (B, K).
    """

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self._total = np.maximum(levels.total, 1)[:, None]
        at = levels.value * CELLS
        self._left = np.minimum(np.floor(at), CELLS - 1).astype(np.intp)
        self._share = at - self._left  # of the node on the right

    def gather(self, levels: Levels) -> Floats:
        return self._on_nodes(levels.residual)

    def value(self, parts: Floats) -> Floats:
        width = _fixed_point(self._coefficients(parts))
        return np.where(self._levels.total > 0, width, np.nan)

    def transform(self, parts: Floats) -> Floats:
        curve: Floats = dct(self._coefficients(parts) * _damping(self._bandwidth), type=1)
        return curve

    def norm(self, transformed: Floats) -> Floats:
        return _mean_absolute(transformed)

    @property
    def bound(self) -> Floats:
        bound: Floats = self._on_nodes(self._levels.count)[0]
        return bound

    @cached_property
    def _bandwidth(self) -> Floats:
        return self.value(self.gather(self._levels))

    def _on_nodes(self, column: Floats) -> Floats:
        """A sum of each level (B, K) shared by the two nodes beside its confidence, (B, CELLS + 1)."""
        starts = starts_of(self._left)
        nodes = self._left[starts]
        right = column * self._share
        masses = np.zeros((len(column), CELLS + 1))
        masses[:, nodes] = segment_sums(column - right, starts)
        masses[:, nodes + 1] += segment_sums(right, starts)
        return masses

    def _coefficients(self, masses: Floats) -> Floats:
        """Cosine coefficients of the mean residual, (B, CELLS + 1)."""
        halved = masses / self._total
        halved[:, 1:-1] /= 2  # what this transform counts twice
        coefficients: Floats = dct(halved, type=1)
        return coefficients


def _fixed_point(coefficients: Floats) -> Floats:
    """The deviation at which the smoothed error equals it, (B,), by false position with Illinois steps.

    The error falls and the deviation rises, so their difference has one root and a slope of at least 1: where the
    difference is small, the root is equally near.
    """
    low, high = np.zeros(len(coefficients)), np.ones(len(coefficients))
    above, below = _smoothed_error(coefficients, low) - low, _smoothed_error(coefficients, high) - high
    side = np.zeros(len(coefficients))
    at = low
    for _ in range(MOST_STEPS):
        span = above - below
        at = np.divide(low * -below + high * above, span, out=(low + high) / 2, where=span > 0)
        gap = _smoothed_error(coefficients, at) - at
        if np.all(np.abs(gap) < PRECISION):
            break
        rises = gap > 0
        # An end that stays twice weighs half (Illinois), or it would stay for ever.
        below = np.where(rises, np.where(side > 0, below / 2, below), gap)
        above = np.where(rises, gap, np.where(side < 0, above / 2, above))
        low, high = np.where(rises, at, low), np.where(rises, high, at)
        side = np.where(rises, 1.0, -1.0)
    return at


def _smoothed_error(coefficients: Floats, bandwidth: Floats) -> Floats:
    return _mean_absolute(dct(coefficients * _damping(bandwidth), type=1))


def _damping(bandwidth: Floats) -> Floats:
    """What smoothing leaves of each cosine coefficient, (B, CELLS + 1)."""
    damping: Floats = np.exp(-((np.pi * np.arange(CELLS + 1) * bandwidth[:, None]) ** 2) / 2)
    return damping


def _mean_absolute(curve: Floats) -> Floats:
    """Integral of the absolute curve on the grid, by the trapezoid rule."""
    height = np.abs(curve)
    error: Floats = (height.sum(-1) - (height[:, 0] + height[:, -1]) / 2) / CELLS
    return error


@dataclass(frozen=True)
class Reliability:
    """Mean confidence and accuracy of each bin that is not empty, in ascending order.

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

    @property
    def ece(self) -> float:
        """The expected calibration error with these bins; NaN without a response."""
        return float(mean_absolute(self.count * (self.confidence - self.accuracy), self.count))


def reliability_curve(
    confidence: ArrayLike,
    correct: ArrayLike,
    binning: Binning = WIDTHS,
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
    """Interval of a share observed in `count` trials, which never leaves [0, 1]. Wilson (1927)."""
    z = float(ndtri((1 + level) / 2))
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # At 0 and 1 the ends are exactly those, but for rounding.
    return np.where(share == 0, 0.0, centre - half), np.where(share == 1, 1.0, centre + half)
