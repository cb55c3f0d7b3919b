"""How often right, how sure on average, and how often a confidence could be read."""

from __future__ import annotations

from vlcal.evaluation.metrics.levels import Floats, Levels, ratio
from vlcal.evaluation.metrics.metric import Better, metric


@metric("accuracy", Better.HIGHER, "mean outcome; a response without a confidence is wrong by default")
def accuracy(levels: Levels) -> Floats:
    """Mean outcome."""
    return ratio(levels.credit.sum(-1), levels.total)


@metric("mean confidence", Better.NEITHER, "over all responses that are kept, whether or not the outcome is known")
def mean_confidence(levels: Levels) -> Floats:
    """Mean of the confidences, known outcome or not: an image may be taken away where nobody knows the truth."""
    return ratio(levels.kept @ levels.value, levels.kept.sum(-1))


@metric("overconfidence", Better.NEITHER, "mean confidence minus accuracy, both where the outcome is known", low=-1.0)
def overconfidence(levels: Levels) -> Floats:
    """Mean confidence minus accuracy: above 0 too sure, below 0 too unsure, 0 best."""
    return ratio(levels.residual.sum(-1), levels.total)


@metric("parse rate", Better.HIGHER, "share of all responses with a confidence that could be read")
def parse_rate(levels: Levels) -> Floats:
    """Share of the responses that stated a confidence, before absent ones are filled in or left out."""
    return ratio(levels.stated.sum(-1), levels.asked)
