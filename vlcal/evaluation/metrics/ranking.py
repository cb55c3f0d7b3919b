"""Whether right responses are surer than wrong ones; an outcome of at least 0.5 counts as right."""

from __future__ import annotations

import numpy as np

from vlcal.evaluation.metrics.levels import Floats, Levels, ratio
from vlcal.evaluation.metrics.metric import Better, metric


@metric("AUROC", Better.HIGHER, "a tie counts half; undefined if all are right or all wrong")
def auroc(levels: Levels) -> Floats:
    """Chance that a right response is surer than a wrong one, a tie counting half. Hanley and McNeil (1982)."""
    right, wrong = levels.right, levels.wrong
    won = np.einsum("bk,bk->b", right, np.cumsum(wrong, -1) - wrong / 2)
    return ratio(won, right.sum(-1) * wrong.sum(-1))


@metric("AUPRC", Better.HIGHER, "average precision for right responses, equal confidences in one step")
def auprc(levels: Levels) -> Floats:
    """Average precision: sum of precision times step of recall, surest first; undefined if none is right."""
    hits = levels.accepted - levels.errors
    precision = np.divide(hits, levels.accepted, out=np.zeros(hits.shape), where=levels.accepted > 0)
    return ratio(np.einsum("bk,bk->b", precision, levels.right[:, ::-1]), levels.right.sum(-1))
