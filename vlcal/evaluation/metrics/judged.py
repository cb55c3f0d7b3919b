"""Responses reduced to what metrics need: a confidence, whether it was right, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.metrics.absent import AbsentPolicy, WrongAndUnsure


@dataclass(frozen=True)
class Judged:
    """One row per response, of one kind of confidence (overall, visual or reasoning).

    Args:
        confidence: Stated confidence in [0, 1]; NaN where none could be read.
        correct: What it is held against, in [0, 1]; NaN where nobody knows.
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
                raise ValueError(
                    f"`{name}` must be one column with a value per confidence; got shape {shape} for "
                    f"{len(self.confidence)} confidences. Give one flat row per response."
                )
        check_unit("confidence", self.confidence)
        check_unit("correct", self.correct)

    def __len__(self) -> int:
        return len(self.confidence)

    @classmethod
    def of(cls, confidence: NDArray[np.float64], correct: NDArray[np.float64], dataset: str = "all") -> Judged:
        """Responses to as many different questions of one data set."""
        rows = np.arange(len(confidence)).astype(np.str_)
        return cls(confidence, correct, rows, np.full(len(rows), dataset))

    def where(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Judged:
        """Those rows only."""
        return Judged(self.confidence[rows], self.correct[rows], self.question[rows], self.dataset[rows])

    def settled(self, absent: AbsentPolicy = WrongAndUnsure()) -> Judged:
        """The rows that are scored, without a NaN: outcome known, an absent confidence filled in or left out."""
        confidence, correct = absent(self.confidence, self.correct)
        return Judged(confidence, correct, self.question, self.dataset).where(~np.isnan(confidence + correct))


def check_unit(name: str, values: NDArray[np.float64]) -> None:
    """Refuses anything but [0, 1] and NaN.

    Raises:
        ValueError: If a value lies outside.
    """
    outside = values[(values < 0) | (values > 1)]
    if len(outside):
        raise ValueError(
            f"`{name}` must lie in [0, 1], or be NaN where it is absent; got {outside[0]:g}. Divide levels by the top "
            "one."
        )
