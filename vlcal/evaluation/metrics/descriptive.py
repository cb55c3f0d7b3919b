"""Descriptive statistics: accuracy, mean confidence, parse rate, and how varied confidences are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from vlcal.errors import UserError
from vlcal.evaluation.metrics.levels import Floats, Levels, ratio
from vlcal.evaluation.metrics.metric import Better, metric


@metric("accuracy", Better.HIGHER, "mean outcome; a response without a confidence is wrong by default")
def accuracy(levels: Levels) -> Floats:
    """Mean outcome."""
    return ratio(levels.credit.sum(-1), levels.total)


@metric("mean confidence", Better.NEITHER, "over all responses that are kept, whether or not the outcome is known")
def mean_confidence(levels: Levels) -> Floats:
    """Mean confidence, outcome known or not: without an image there may be a confidence and no known truth."""
    return ratio(levels.kept @ levels.value, levels.kept.sum(-1))


@metric("overconfidence", Better.NEITHER, "mean confidence minus accuracy, both where the outcome is known", low=-1.0)
def overconfidence(levels: Levels) -> Floats:
    """Mean confidence minus accuracy: above 0 overconfident, below 0 underconfident, 0 best."""
    return ratio(levels.residual.sum(-1), levels.total)


@metric("parse rate", Better.HIGHER, "share of all responses with a confidence that could be read")
def parse_rate(levels: Levels) -> Floats:
    """Share of the responses that state a confidence, before absent ones are filled in or left out."""
    return ratio(levels.stated.sum(-1), levels.asked)


@metric("distinct values", Better.NEITHER, "of the confidences that were stated", high=math.inf)
def distinct_values(levels: Levels) -> Floats:
    """How many different confidences were stated; 1 is a collapse."""
    number: Floats = (levels.stated > 0).sum(-1).astype(np.float64)
    return number


@metric("entropy of values", Better.NEITHER, "nats, of the confidences that were stated", high=math.inf)
def value_entropy(levels: Levels) -> Floats:
    """Shannon entropy of the distribution over distinct stated confidences; 0 if it is always the same."""
    stated = levels.stated
    total = stated.sum(-1)
    # sum of p log(1/p) with p = m / M is log M - sum of m log m / M.
    inner = np.einsum("bk,bk->b", stated, np.log(np.maximum(stated, 1)))
    found: Floats = np.maximum(np.log(np.maximum(total, 1)) - ratio(inner, total), 0.0)
    return found


class Correlation(NamedTuple):
    """Correlation of two confidences of the same responses.

    Args:
        pearson: Linear correlation, in [-1, 1]; NaN if either is constant.
        spearman: Correlation of the ranks, ties at their middle rank.
        n: Responses that state both.
    """

    pearson: float
    spearman: float
    n: int


def confidence_correlation(first: ArrayLike, second: ArrayLike) -> Correlation:
    """Pearson's and Spearman's correlation over the responses that state both; near 1, the second adds nothing."""
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise UserError(
            f"`second` must be a flat array with one confidence per confidence of `first`; got {other.shape} for "
            f"{one.shape}."
        )
    both = ~np.isnan(one + other)
    one, other = one[both], other[both]
    return Correlation(_pearson(one, other), _pearson(rankdata(one), rankdata(other)), len(one))


def _pearson(first: Floats, second: Floats) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))
