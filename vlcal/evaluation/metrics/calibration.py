"""How far confidences are from the share that is right."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.fft import dct

from vlcal.evaluation.metrics.binning import EqualMass, EqualWidth, PerValue, starts_of
from vlcal.evaluation.metrics.deviation import Binned, Deviation, largest, mean_absolute, root_mean_square
from vlcal.evaluation.metrics.levels import Floats, Levels, segment_sums
from vlcal.evaluation.metrics.metric import Better, deviation_metric

CELLS = 500  # of the grid of smooth ECE
PRECISION, MOST_STEPS = 1e-9, 50  # of the search for its bandwidth, which takes about ten steps

WIDTHS = EqualWidth(10)
MASSES = EqualMass(10)
VALUES = PerValue()


@deviation_metric("ECE, equal width", Better.LOWER, "10 bins of equal width, each with its lower edge, 1.0 in the last")
def ece_equal_width(levels: Levels) -> Deviation:
    """Gap of mean confidence and accuracy in a bin, averaged over responses. Naeini et al. (2015)."""
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
    "smooth ECE", Better.LOWER, "reflected Gaussian kernel, bandwidth equal to the error itself, grid of 1/500"
)
def smooth_ece(levels: Levels) -> Deviation:
    """Calibration error of the kernel-smoothed residual, at the bandwidth that equals it. Blasiok and Nakkiran (2023).

    smECE_s = integral over [0, 1] of |1/n sum_i (y_i - c_i) K_s(t, c_i)| with K_s the Gaussian of deviation s,
    reflected at 0 and 1; the figure is the s with smECE_s = s. The reflected Gaussian is the heat kernel of an
    insulated rod, so smoothing multiplies the m-th cosine coefficient by exp(-(pi m s)^2 / 2).
    """
    return Smoothed(levels)


class Smoothed(Deviation):
    """The residual as masses on the nodes of a grid, seen through a Gaussian as wide as the figure.

    The smoothed error falls as its bandwidth grows, and the figure is where the two meet. So the figure of any masses
    is at least this one if and only if their error at this bandwidth is.

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

    def figure(self, parts: Floats) -> Floats:
        width = _fixed_point(self._coefficients(parts))
        return np.where(self._levels.total > 0, width, np.nan)

    def seen(self, parts: Floats) -> Floats:
        curve: Floats = dct(self._coefficients(parts) * _damping(self._bandwidth), type=1)
        return curve

    def size(self, seen: Floats) -> Floats:
        return _mean_absolute(seen)

    @property
    def most(self) -> Floats:
        most: Floats = self._on_nodes(self._levels.count)[0]
        return most

    @cached_property
    def _bandwidth(self) -> Floats:
        return self.figure(self.gather(self._levels))

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
    difference is small, the root is as near.
    """
    low, high = np.zeros(len(coefficients)), np.ones(len(coefficients))
    above, below = _smoothed_error(coefficients, low) - low, _smoothed_error(coefficients, high) - high
    side = np.zeros(len(coefficients))
    at = low
    for _ in range(MOST_STEPS):
        apart = above - below
        at = np.divide(low * -below + high * above, apart, out=(low + high) / 2, where=apart > 0)
        gap = _smoothed_error(coefficients, at) - at
        if np.all(np.abs(gap) < PRECISION):
            break
        rises = gap > 0
        # An end that stays twice weighs half, or it would stay for ever.
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
