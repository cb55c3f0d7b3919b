"""How far confidences are from the share that is right."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

from vlcal.evaluation.metrics.binning import Binning, EqualMass, EqualWidth, PerValue, starts_of
from vlcal.evaluation.metrics.levels import Floats, Levels, ratio, segment_sums
from vlcal.evaluation.metrics.metric import Better, metric

CELLS = 500  # of the grid of smooth ECE
PRECISION, MOST_STEPS = 1e-9, 50  # of the search for its bandwidth, which takes about ten steps

WIDTHS = EqualWidth(10)
MASSES = EqualMass(10)
VALUES = PerValue()


@metric("ECE, equal width", Better.LOWER, "10 bins of equal width, each with its lower edge, 1.0 in the last")
def ece_equal_width(levels: Levels) -> Floats:
    """Gap of mean confidence and accuracy in a bin, averaged over responses. Naeini et al. (2015)."""
    return expected_calibration_error(levels, WIDTHS)


@metric("ECE, equal mass", Better.LOWER, "10 bins of equal mass, equal confidences kept together")
def ece_equal_mass(levels: Levels) -> Floats:
    """The same over bins of as many responses each. Nguyen and O'Connor (2015)."""
    return expected_calibration_error(levels, MASSES)


@metric("ECE, per value", Better.LOWER, "one bin per distinct confidence")
def ece_per_value(levels: Levels) -> Floats:
    """The same with a bin for every distinct confidence: exact for a few levels, near 2 c (1 - c) for a continuum."""
    return expected_calibration_error(levels, VALUES)


@metric("MCE", Better.LOWER, "largest gap of the 10 bins of equal width, however few are in it")
def mce(levels: Levels) -> Floats:
    """Largest gap of mean confidence and accuracy in a bin. Naeini et al. (2015)."""
    residual, count = WIDTHS.sums(levels, levels.residual, levels.count)
    gaps = np.divide(np.abs(residual), count, out=np.zeros(count.shape), where=count > 0)
    return np.where(levels.total > 0, gaps.max(-1, initial=0.0), np.nan)


@metric("RMSCE", Better.LOWER, "root mean square over the 10 bins of equal width")
def rmsce(levels: Levels) -> Floats:
    """Root of the mean squared gap, weighted by responses. Kumar, Liang and Ma (2019), the l2 calibration error."""
    residual, count = WIDTHS.sums(levels, levels.residual, levels.count)
    squares = np.divide(residual**2, count, out=np.zeros(count.shape), where=count > 0)
    return np.sqrt(ratio(squares.sum(-1), levels.total))


@metric("smooth ECE", Better.LOWER, "reflected Gaussian kernel, bandwidth equal to the error itself, grid of 1/500")
def smooth_ece(levels: Levels) -> Floats:
    """Calibration error of the kernel-smoothed residual, at the bandwidth that equals it. Blasiok and Nakkiran (2023).

    smECE_s = integral over [0, 1] of |1/n sum_i (y_i - c_i) K_s(t, c_i)| with K_s the Gaussian of deviation s,
    reflected at 0 and 1; the figure is the s with smECE_s = s. The reflected Gaussian is the heat kernel of an
    insulated rod, so smoothing multiplies the m-th cosine coefficient by exp(-(pi m s)^2 / 2).
    """
    width = _fixed_point(_cosine_coefficients(levels))
    return np.where(levels.total > 0, width, np.nan)


def expected_calibration_error(levels: Levels, binning: Binning) -> Floats:
    """Gap of mean confidence and accuracy, averaged over responses: the absolute residual of each bin, summed."""
    (residual,) = binning.sums(levels, levels.residual)
    return ratio(np.abs(residual).sum(-1), levels.total)


def _cosine_coefficients(levels: Levels) -> Floats:
    """Cosine coefficients of the mean residual, (B, CELLS + 1), each confidence shared by the two nodes beside it."""
    at = levels.value * CELLS
    left = np.minimum(np.floor(at), CELLS - 1).astype(np.intp)
    starts = starts_of(left)
    nodes = left[starts]
    residual = levels.residual / np.maximum(levels.total, 1)[:, None]
    right_share = residual * (at - left)
    masses = np.zeros((len(residual), CELLS + 1))
    masses[:, nodes] = segment_sums(residual - right_share, starts)
    masses[:, nodes + 1] += segment_sums(right_share, starts)
    masses[:, 1:-1] /= 2  # what this transform counts twice
    coefficients: Floats = dct(masses, type=1)
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


def _smoothed_error(coefficients: Floats, deviation: Floats) -> Floats:
    """Integral of the absolute smoothed residual, by the trapezoid rule."""
    damping = np.exp(-((np.pi * np.arange(CELLS + 1) * deviation[:, None]) ** 2) / 2)
    smoothed = np.abs(dct(coefficients * damping, type=1))
    error: Floats = (smoothed.sum(-1) - (smoothed[:, 0] + smoothed[:, -1]) / 2) / CELLS
    return error
