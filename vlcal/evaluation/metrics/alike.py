"""Questions that are alike: a draw need only say how many of them it takes, not which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.metrics.bootstrap import Clusters
from vlcal.evaluation.metrics.levels import Rows

WORTH = 8  # questions of a kind, on average, from which on drawing kinds is quicker
MOST_SAMPLES = 64  # of a question that is compared with others; beyond, each is a kind of its own


def by_kind(clusters: Clusters, rows: Sequence[Rows]) -> tuple[Clusters, Sequence[Rows]]:
    """The same draws over kinds of questions, as far as there are fewer: with eleven levels there are a few dozen.

    Two questions of a data set are of a kind where their responses have the same confidences and outcomes, in any
    order, in all of `rows`. How often a draw takes the questions of a kind is multinomial, and the sum of their random
    signs binomial, so that draws have exactly the distribution of those over questions.

    Args:
        clusters: The questions.
        rows: The responses of some groups, each with a column of the weights for each question.

    Returns:
        Clusters whose columns are kinds, and one response set for each of `rows` with those columns.
    """
    kind = _kinds(clusters, rows)
    _, first, count = np.unique(kind, return_index=True, return_counts=True)
    if len(first) * WORTH > len(clusters):
        return clusters, rows
    # Kinds in the order of their first questions, which keeps those of a data set together.
    order = np.argsort(first)
    return clusters.of_kinds(count[order], first[order]), [each.of_columns(first[order]) for each in rows]


def _kinds(clusters: Clusters, rows: Sequence[Rows]) -> NDArray[np.intp]:
    """A number for each question, equal for those of a kind."""
    kind = np.repeat(np.arange(len(clusters.sizes)), clusters.sizes)
    for each in rows:
        question, code = each.coded()
        order = np.lexsort((code, question))
        question, code = question[order], code[order]
        samples = np.bincount(question, minlength=len(clusters))
        if samples.max(initial=0) > MOST_SAMPLES:
            return np.arange(len(clusters))
        start = np.cumsum(samples) - samples
        kind = _joined(kind, samples)
        for place in range(int(samples.max(initial=0))):
            with_one = np.flatnonzero(samples > place)
            following = np.zeros(len(kind), np.intp)
            following[with_one] = 1 + code[start[with_one] + place]
            kind = _joined(kind, following)
    return kind


def _joined(one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
    """A number for each pair of both, small enough to be joined again."""
    return np.unique(one * (int(other.max(initial=0)) + 1) + other, return_inverse=True)[1]
