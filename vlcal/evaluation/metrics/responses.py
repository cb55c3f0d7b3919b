"""Responses reduced to what metrics need, and how one without a confidence is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlcal.errors import UserError

Columns = tuple[NDArray[np.float64], NDArray[np.float64]]


class AbsentPolicy(ABC):
    """How a response without a confidence (NaN) is scored."""

    description: ClassVar[str]
    """What a report prints beside the number of such responses."""

    in_accuracy: ClassVar[str]
    """What a report adds to the label of accuracy where there are such responses."""

    @abstractmethod
    def __call__(self, confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> Columns:
        """Both columns as they are scored, of unchanged length; a confidence that stays NaN is left out."""


class WrongAndUnsure(AbsentPolicy):
    """Scored as wrong (0) with a confidence of 0.5, so that stating nothing never pays; the default."""

    description: ClassVar[str] = "scored as wrong and unsure (0.5)"
    in_accuracy: ClassVar[str] = "wrong where no confidence is stated"

    def __call__(self, confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> Columns:
        """Fills in confidence 0.5 and outcome 0; an unknown outcome (NaN) stays unknown."""
        absent = np.isnan(confidence)
        return np.where(absent, 0.5, confidence), np.where(absent & ~np.isnan(correct), 0.0, correct)


class LeaveOut(AbsentPolicy):
    """Left out of every metric but the parse rate: flatters a model that states nothing where it would be wrong."""

    description: ClassVar[str] = "left out"
    in_accuracy: ClassVar[str] = "only where a confidence is stated"

    def __call__(self, confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> Columns:
        """Both columns unchanged."""
        return confidence, correct


class Ranked(AbsentPolicy):
    """Ranked among the scores that are present, for scores of any real scale; a row without one is left out.

    Such a score, as the label-free certainty, is no confidence: it is absent where there was nothing to measure, as in
    an answer to a question without an image, and not where a model would rather not say. It is replaced by its rank in
    (0, 1], so only metrics of the order (AUROC, AUPRC, the AURC family, coverage) are meaningful.
    """

    description: ClassVar[str] = "left out, the others ranked"
    in_accuracy: ClassVar[str] = "only where there is a score"

    def __call__(self, confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> Columns:
        """Ranks in (0, 1]; NaN where the score is absent."""
        present = ~np.isnan(confidence)
        distinct, place = np.unique(confidence[present], return_inverse=True)
        ranks = np.full(confidence.shape, np.nan)
        ranks[present] = (place + 1) / max(len(distinct), 1)
        return ranks, correct


@dataclass(frozen=True)
class ScoredResponses:
    """One row per response, of one kind of confidence (overall, visual or reasoning).

    Args:
        confidence: Stated confidence in [0, 1]; NaN where absent.
        correct: Outcome it is compared with, in [0, 1]; NaN where unknown.
        question: The question's id. Samples of one question are resampled together.
        dataset: Name of the data set. The same id in two data sets is two questions.
    """

    confidence: NDArray[np.float64]
    correct: NDArray[np.float64]
    question: NDArray[np.str_]
    dataset: NDArray[np.str_]

    def __post_init__(self) -> None:
        columns = {"confidence": np.float64, "correct": np.float64, "question": np.str_, "dataset": np.str_}
        for name, dtype in columns.items():
            # Frozen, so the only way to keep what `asarray` makes of a list.
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        for name in columns:
            shape = getattr(self, name).shape
            if shape != (len(self.confidence),):
                raise UserError(
                    f"`{name}` must be one column with a value per confidence; got shape {shape} for "
                    f"{len(self.confidence)} confidences. Give one flat row per response."
                )
        check_unit("confidence", self.confidence)
        check_unit("correct", self.correct)

    def __len__(self) -> int:
        return len(self.confidence)

    @classmethod
    def of(cls, confidence: NDArray[np.float64], correct: NDArray[np.float64], dataset: str = "all") -> ScoredResponses:
        """Responses to as many different questions of one data set."""
        rows = np.arange(len(confidence)).astype(np.str_)
        return cls(confidence, correct, rows, np.full(len(rows), dataset))

    def where(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> ScoredResponses:
        """Those rows only."""
        return ScoredResponses(self.confidence[rows], self.correct[rows], self.question[rows], self.dataset[rows])

    def settled(self, absent: AbsentPolicy = WrongAndUnsure()) -> ScoredResponses:
        """The rows that are scored, without a NaN: outcome known, an absent confidence filled in or left out."""
        confidence, correct = absent(self.confidence, self.correct)
        return ScoredResponses(confidence, correct, self.question, self.dataset).where(~np.isnan(confidence + correct))


def check_unit(name: str, values: NDArray[np.float64]) -> None:
    """Refuses anything but [0, 1] and NaN.

    Raises:
        UserError: If a value lies outside.
    """
    outside = values[(values < 0) | (values > 1)]
    if len(outside):
        raise UserError(
            f"`{name}` must lie in [0, 1], or be NaN where it is absent; got {outside[0]:g}. Divide levels by the top "
            "one."
        )
