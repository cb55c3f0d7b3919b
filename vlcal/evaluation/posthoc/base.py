"""What a post-hoc calibrator is: confidences that were stated in, probabilities out."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlcal.evaluation.metrics.judged import check_unit
from vlcal.evaluation.metrics.levels import RIGHT, Floats

Parameters = Mapping[str, list[float]]
SHARE = "share"


class Calibrator(ABC):
    """Learns from judged responses how often a stated confidence turns out right.

    Rows with a NaN are left out of the fit; an absent confidence (NaN) stays absent in what is predicted. An outcome of
    at least 0.5 counts as right. Where all responses of a fit are right, or all wrong, nothing tells confidences apart:
    then every prediction is (right + 1) / (n + 2), Laplace's rule of succession (1814): 0.5 if there is no response.
    """

    kind: ClassVar[str]
    """Name in JSON and in reports."""
    features: ClassVar[tuple[str, ...]] = ()
    """What `fit` and `predict` take after the confidence and the outcome."""

    def __init__(self) -> None:
        self._parameters: Parameters | None = None

    @property
    def parameters(self) -> Parameters:
        """What was learned.

        Raises:
            ValueError: If nothing was yet.
        """
        if self._parameters is None:
            raise ValueError(f"`{type(self).__name__}` must be fitted before it predicts or is stored; call `fit`.")
        return self._parameters

    def settings(self) -> dict[str, Any]:
        """The arguments it was made with, for JSON."""
        return {}

    def fit(self, confidence: ArrayLike, correct: ArrayLike, *features: ArrayLike) -> Self:
        """Learns from judged responses, and forgets what it learned before.

        Raises:
            ValueError: If the columns differ in length, leave [0, 1], or are more or fewer than it wants.
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
            ValueError: If it has not been fitted, or the columns are not those it was fitted to.
        """
        parameters = self.parameters
        stated, *others = self._columns(confidence, features)
        present = ~np.isnan(stated)
        predicted = np.full(len(stated), np.nan)
        if SHARE in parameters:
            predicted[present] = parameters[SHARE][0]
        else:
            found = self._predicted(stated[present], *(other[present] for other in others))
            predicted[present] = np.clip(found, 0.0, 1.0)
        return predicted

    def to_json(self) -> str:
        """Kind, settings and what was learned, for `from_json`."""
        return json.dumps(
            {"kind": self.kind, "settings": self.settings(), "parameters": dict(self.parameters)}, allow_nan=False
        )

    def restore(self, parameters: Parameters) -> Self:
        """Takes over what another one of its kind learned."""
        self._parameters = {name: [float(value) for value in values] for name, values in parameters.items()}
        return self

    @abstractmethod
    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        """What is learned from responses without a NaN, some right and some wrong."""

    @abstractmethod
    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        """Probabilities for confidences without a NaN."""

    def _columns(self, confidence: ArrayLike, features: tuple[ArrayLike, ...], *correct: ArrayLike) -> list[Floats]:
        if len(features) != len(self.features):
            wanted = f"`{'`, `'.join(self.features)}` beside" if self.features else "nothing but"
            raise ValueError(
                f"`{type(self).__name__}` must be given {wanted} the confidence and the outcome; got {len(features)} "
                "more."
            )
        columns = [np.asarray(column, np.float64) for column in (confidence, *correct, *features)]
        shapes = {column.shape for column in columns}
        if len(shapes) > 1 or columns[0].ndim != 1:
            raise ValueError(
                f"`confidence` and what goes with it must be flat arrays of one length; got {sorted(shapes)}."
            )
        check_unit("confidence", columns[0])
        for column in columns[1 : 1 + len(correct)]:
            check_unit("correct", column)
        return columns


class Identity(Calibrator):
    """The stated confidence as it is, also where all were right: the trained confidence beside the others."""

    kind = "identity"

    def fit(self, confidence: ArrayLike, correct: ArrayLike, *features: ArrayLike) -> Self:
        self._columns(confidence, features, correct)
        return self.restore({})

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        return {}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        return confidence
