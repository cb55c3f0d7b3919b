"""What a post-hoc calibrator is, and how it is applied to responses that it was not fitted to."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlcal.errors import UserError
from vlcal.evaluation.metrics import ScoredResponses
from vlcal.evaluation.metrics.bootstrap import Clusters
from vlcal.evaluation.metrics.levels import RIGHT, Floats
from vlcal.evaluation.metrics.responses import check_unit

Parameters = Mapping[str, list[float]]
SHARE = "share"


class Calibrator(ABC):
    """Learns the probability that a response is right from its stated confidence, on labelled responses.

    Rows with a NaN are left out of the fit; an absent confidence (NaN) stays absent in the prediction. An outcome of
    at least 0.5 counts as right. Where all n responses of a fit are right, or all wrong, every prediction is
    (right + 1) / (n + 2), the rule of succession (Laplace, 1814): 0.5 without a response.
    """

    kind: ClassVar[str]
    """Name in outputs."""
    features: ClassVar[tuple[str, ...]] = ()
    """What `fit` and `predict` take after the confidence and the outcome."""

    def __init__(self) -> None:
        self._parameters: Parameters | None = None

    @property
    def parameters(self) -> Parameters:
        """What was learned.

        Raises:
            UserError: If it was not fitted yet.
        """
        if self._parameters is None:
            raise UserError(f"`{type(self).__name__}` must be fitted before it predicts; call `fit`.")
        return self._parameters

    def fit(self, confidence: ArrayLike, correct: ArrayLike, *features: ArrayLike) -> Self:
        """Learns from labelled responses, and forgets what it learned before.

        Raises:
            UserError: If the columns differ in length, leave [0, 1], or are more or fewer than it takes.
        """
        stated, outcome, *others = self._columns(confidence, features, correct)
        known = ~np.isnan(stated + outcome)
        right = outcome[known] >= RIGHT
        if right.all() or not right.any():
            self._parameters = {SHARE: [(int(right.sum()) + 1) / (len(right) + 2)]}
        else:
            self._parameters = self._fitted(stated[known], right, *(other[known] for other in others))
        return self

    def predict(self, confidence: ArrayLike, *features: ArrayLike) -> Floats:
        """Probability of being right, (n,); NaN where the confidence is.

        Raises:
            UserError: If it has not been fitted, or the columns are not those it was fitted to.
        """
        parameters = self.parameters
        stated, *others = self._columns(confidence, features)
        present = ~np.isnan(stated)
        predicted = np.full(len(stated), np.nan)
        if SHARE in parameters:
            predicted[present] = parameters[SHARE][0]
        else:
            probabilities = self._predicted(stated[present], *(other[present] for other in others))
            predicted[present] = np.clip(probabilities, 0.0, 1.0)
        return predicted

    @abstractmethod
    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        """What is learned from responses without a NaN, some right and some wrong."""

    @abstractmethod
    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        """Probabilities for confidences without a NaN."""

    def _columns(self, confidence: ArrayLike, features: tuple[ArrayLike, ...], *correct: ArrayLike) -> list[Floats]:
        if len(features) != len(self.features):
            wanted = f"`{'`, `'.join(self.features)}` beside" if self.features else "nothing but"
            raise UserError(
                f"`{type(self).__name__}` must be given {wanted} the confidence and the outcome; got {len(features)} "
                "more."
            )
        columns = [np.asarray(column, np.float64) for column in (confidence, *correct, *features)]
        shapes = {column.shape for column in columns}
        if len(shapes) > 1 or columns[0].ndim != 1:
            raise UserError(
                f"`confidence` and what goes with it must be flat arrays of one length; got {sorted(shapes)}."
            )
        check_unit("confidence", columns[0])
        for column in columns[1 : 1 + len(correct)]:
            check_unit("correct", column)
        return columns


def cross_fitted(
    calibrator: Calibrator, responses: ScoredResponses, folds: int = 5, seed: int = 0, *features: ArrayLike
) -> Floats:
    """Probability of being right, (n,), each predicted by a copy fitted to the other folds; NaN stays NaN.

    Args:
        calibrator: What is fitted; left as it is.
        responses: Confidences with their outcomes. All samples of a question of a data set are in the same fold. A
            response whose outcome is unknown is predicted, and not fitted to.
        folds: At least 2; no more than there are questions are used.
        seed: Of the assignment of questions to folds.
        features: What the calibrator takes beside, as `WithCertainty` the certainty.

    Raises:
        UserError: If `folds` is less than 2.
    """
    if folds < 2:
        raise UserError(f"`folds` must be at least 2, since a fold is predicted by the others; got {folds}.")
    questions = Clusters(responses.question, responses.dataset)
    fold = np.random.default_rng(seed).permutation(np.arange(len(questions)) % folds)[questions.of]
    others = [np.asarray(feature, np.float64) for feature in features]
    predicted = np.full(len(responses), np.nan)
    for held_out in range(min(folds, len(questions))):
        out = fold == held_out
        fitted = copy.deepcopy(calibrator)
        fitted.fit(responses.confidence[~out], responses.correct[~out], *(column[~out] for column in others))
        predicted[out] = fitted.predict(responses.confidence[out], *(column[out] for column in others))
    return predicted
