"""Two truths that most data sets do not know: was the image read right, and did the answer follow."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from vlcal.text import ParsedResponse


class Oracle(ABC):
    """What is true of a response beyond its answer; a measure of the two confidences, never a reward."""

    @abstractmethod
    def __call__(self, response: ParsedResponse, extras: Mapping[str, Any]) -> tuple[float, float]:
        """Whether the stated reading of the image is the true one, and whether the answer follows from that reading.

        Args:
            response: What the policy wrote.
            extras: What the data set knows about the prompt.

        Returns:
            `(perception_correct, reasoning_correct)`, each in [0, 1], NaN where it is unknown.
        """


class NoOracle(Oracle):
    """Both unknown: for data sets with nothing but a target."""

    def __call__(self, response: ParsedResponse, extras: Mapping[str, Any]) -> tuple[float, float]:
        """NaN twice."""
        return math.nan, math.nan
