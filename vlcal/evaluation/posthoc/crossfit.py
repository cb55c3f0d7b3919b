"""Calibrated confidences of responses by calibrators that never saw their question."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import ArrayLike

from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.posthoc.base import Calibrator


def cross_fitted(
    calibrator: Calibrator,
    confidence: ArrayLike,
    correct: ArrayLike,
    question: ArrayLike,
    folds: int = 5,
    seed: int = 0,
    *features: ArrayLike,
) -> Floats:
    """Probability of being right, (n,), each predicted by a copy fitted to the other folds; NaN stays NaN.

    Args:
        calibrator: What is fitted; left as it is.
        confidence: Stated confidence in [0, 1], NaN where absent.
        correct: Outcome in [0, 1], NaN where unknown; such a response is predicted, and taught nothing by.
        question: The question's id: all samples of one are in the same fold.
        folds: At least 2; no more than there are questions are used.
        seed: Of the assignment of questions to folds.
        features: What the calibrator takes beside, as `WithCertainty` the certainty.

    Raises:
        ValueError: If `folds` is less than 2 or `question` has another length than `confidence`.
    """
    if folds < 2:
        raise ValueError(f"`folds` must be at least 2, since a fold is predicted by the others; got {folds}.")
    stated, outcome = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    ids, number = np.unique(np.asarray(question), return_inverse=True)
    if number.shape != stated.shape:
        raise ValueError(f"`question` must hold one id per confidence; got {number.shape} for {stated.shape}.")
    fold = np.random.default_rng(seed).permutation(np.arange(len(ids)) % folds)[number]
    others = [np.asarray(feature, np.float64) for feature in features]
    predicted = np.full(len(stated), np.nan)
    for held_out in range(min(folds, len(ids))):
        out = fold == held_out
        fitted = copy.deepcopy(calibrator).fit(stated[~out], outcome[~out], *(column[~out] for column in others))
        predicted[out] = fitted.predict(stated[out], *(column[out] for column in others))
    return predicted
