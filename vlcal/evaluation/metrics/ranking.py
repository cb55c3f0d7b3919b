"""Whether right responses have the higher confidence, and what answering only where sure would cost.

An outcome of at least 0.5 counts as right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vlcal.evaluation.metrics.levels import Floats, Levels, Rows, ratio
from vlcal.evaluation.metrics.metric import Better, metric
from vlcal.evaluation.metrics.responses import AbsentPolicy, WrongAndUnsure


@metric("AUROC", Better.HIGHER, "a tie counts half; undefined if all are right or all wrong")
def auroc(levels: Levels) -> Floats:
    """P(c_right > c_wrong) + P(c_right = c_wrong) / 2 of a right and a wrong response. Hanley and McNeil (1982)."""
    right, wrong = levels.right, levels.wrong
    won = np.einsum("bk,bk->b", right, np.cumsum(wrong, -1) - wrong / 2)
    return ratio(won, right.sum(-1) * wrong.sum(-1))


@metric(
    "within-prompt AUROC",
    Better.HIGHER,
    "pairs of a right and a wrong response to the same question, of all questions together; a tie counts half",
)
def within_auroc(levels: Levels) -> Floats:
    """P(c_right > c_wrong) + P(c_right = c_wrong) / 2 of two responses to the same question.

    The within-question discrimination of Taubenfeld et al. (2025, CISC, arXiv 2502.06233): 0.5 for a confidence that
    knows the question alone. Every pair weighs the same, so a question with r right and w wrong responses weighs r w;
    undefined where none has both. A question that is drawn twice in the bootstrap counts its pairs twice.
    """
    return ratio(levels.won, levels.pairs)


@metric("AUPRC", Better.HIGHER, "average precision for right responses, equal confidences in one step")
def auprc(levels: Levels) -> Floats:
    """Average precision: sum of precision times step of recall, surest first; undefined if none is right."""
    hits = levels.accepted - levels.errors
    precision = np.divide(hits, levels.accepted, out=np.zeros(hits.shape), where=levels.accepted > 0)
    return ratio(np.einsum("bk,bk->b", precision, levels.right[:, ::-1]), levels.right.sum(-1))


class RiskCoverage(NamedTuple):
    """Risk against coverage, from the surest responses to all of them.

    Args:
        coverage: Share of the responses that are at least as sure as `threshold`, in (0, 1].
        risk: Share of those that is wrong.
        threshold: The distinct confidences, descending.
    """

    coverage: Floats
    risk: Floats
    threshold: Floats


def risk_coverage_curve(
    confidence: ArrayLike, correct: ArrayLike, absent: AbsentPolicy = WrongAndUnsure()
) -> RiskCoverage:
    """Risk at every coverage that a threshold can reach; empty without a response. El-Yaniv and Wiener (2010)."""
    levels = Rows(confidence, correct, absent).once()
    reached = levels.count[0, ::-1] > 0
    accepted, errors = levels.accepted[0, reached], levels.errors[0, reached]
    return RiskCoverage(accepted / levels.total[0], errors / accepted, levels.value[::-1][reached])


@metric("AURC", Better.LOWER, "mean risk over all coverages, ties in random order on average")
def aurc(levels: Levels) -> Floats:
    """Mean over m = 1 ... n of the share wrong among the m surest. Geifman, Uziel and El-Yaniv (2019).

    Equal confidences are averaged over every order they could stand in: a level of k responses, w of them wrong, behind
    N with E wrong gives E (H(N + k) - H(N)) + w / k (k - N (H(N + k) - H(N))), with H the harmonic numbers.
    """
    count, wrong = levels.count[:, ::-1], levels.wrong[:, ::-1]
    before, errors = levels.accepted - count, levels.errors - wrong
    harmonic = _harmonic(int(levels.total.max(initial=0)))
    step = np.diff(harmonic[levels.accepted.astype(np.intp)], prepend=0.0)
    share = np.divide(wrong, count, out=np.zeros(count.shape), where=count > 0)
    return ratio((errors * step + share * (count - before * step)).sum(-1), levels.total)


@metric("E-AURC", Better.LOWER, "AURC less that of a perfect ranking of the same responses")
def e_aurc(levels: Levels) -> Floats:
    """AURC beyond what the accuracy makes unavoidable; 0 for a perfect ranking. Geifman et al. (2019).

    The best AURC is counted out, (w - r (H(n) - H(r))) / n with r right and w wrong, not approximated by a logarithm.
    """
    right, wrong = levels.right.sum(-1), levels.wrong.sum(-1)
    harmonic = _harmonic(int(levels.total.max(initial=0)))
    best = wrong - right * (harmonic[levels.total.astype(np.intp)] - harmonic[right.astype(np.intp)])
    return np.maximum(aurc.of(levels) - ratio(best, levels.total), 0.0)


@metric("AUGRC", Better.LOWER, "trapezoids between the distinct confidences", high=0.5)
def augrc(levels: Levels) -> Floats:
    """Area under wrong and accepted, as a share of all, against coverage. Traub et al. (2024).

    It equals (1 - AUROC) a (1 - a) + (1 - a)^2 / 2 at accuracy a.
    """
    area = np.einsum("bk,bk->b", levels.count[:, ::-1], levels.errors - levels.wrong[:, ::-1] / 2)
    return ratio(area, levels.total**2)


@metric("coverage at 10 % risk", Better.HIGHER, "largest share that a threshold can accept with at most 10 % wrong")
def coverage_at_risk_10(levels: Levels) -> Floats:
    """Largest coverage with a risk of at most 10 %; 0 if even the surest responses are wrong more often."""
    return coverage_at_risk(levels, 0.1)


def coverage_at_risk(levels: Levels, risk: float) -> Floats:
    """Largest coverage with at most that risk; equal confidences are accepted together or not at all."""
    safe = levels.errors <= risk * levels.accepted + 1e-9
    return ratio(np.where(safe, levels.accepted, 0.0).max(-1, initial=0.0), levels.total)


def _harmonic(count: int) -> Floats:
    """The harmonic numbers H(0) = 0, H(1) = 1, ... H(count)."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, count + 1))])
