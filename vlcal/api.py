"""Scoring from Python what `vlcal score` scores in files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from vlcal.evaluation.metrics import ScoredResponses
from vlcal.evaluation.metrics.table import Estimate, metric_table


def score(
    confidence: ArrayLike,
    correct: ArrayLike,
    question: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Mapping[str, Estimate]:
    """Every metric by name, each with its value and the ends of its 95 % interval.

    >>> found = score([0.9, 0.8, 0.3], [1, 1, 0], draws=0)
    >>> round(found["brier"].value, 4), found["auroc"].value
    (0.0467, 1.0)

    Args:
        confidence: Stated confidence of each response, in [0, 1]; NaN where none was stated, which is scored as wrong
            and unsure.
        correct: Its outcome, in [0, 1]; NaN where unknown.
        question: Id of its question, where several responses answer one; they are resampled together.
        draws: Bootstrap draws of the questions; 0 leaves the intervals out.
        seed: Of the draws.

    Raises:
        UserError: If the lengths differ, or something lies outside [0, 1].
    """
    stated, outcome = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    names = np.arange(len(stated)) if question is None else np.asarray(question)
    responses = ScoredResponses(stated, outcome, names.astype(np.str_), np.full(len(stated), "all"))
    return metric_table(responses, draws, seed).estimates
