"""What a response without a confidence counts as."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class AbsentPolicy(ABC):
    """Decides how a response is scored whose confidence nobody could read."""

    said: ClassVar[str]
    """The policy in the words that a report prints beside the number of such responses."""

    @abstractmethod
    def __call__(
        self, confidence: NDArray[np.float64], correct: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both columns as they are scored, of the length they had; a confidence that stays NaN is left out."""


class WrongAndUnsure(AbsentPolicy):
    """Scored as wrong (0) with a confidence of 0.5, so that silence never pays; the default."""

    said: ClassVar[str] = "scored as wrong and unsure (0.5)"

    def __call__(
        self, confidence: NDArray[np.float64], correct: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fills in confidence 0.5 and outcome 0; where nobody knows the outcome, it stays unknown."""
        absent = np.isnan(confidence)
        return np.where(absent, 0.5, confidence), np.where(absent & ~np.isnan(correct), 0.0, correct)


class LeaveOut(AbsentPolicy):
    """Left out of every figure but the parse rate: flatters a model that says nothing where it would be wrong."""

    said: ClassVar[str] = "left out"

    def __call__(
        self, confidence: NDArray[np.float64], correct: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both columns as they came."""
        return confidence, correct
