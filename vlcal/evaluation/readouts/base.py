"""The family of readouts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from vlcal.evaluation.study import Study


class Readout(ABC):
    """Reads confidences out of responses."""

    @abstractmethod
    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        """For `overall`, `visual` and `reasoning`, or some of them, a confidence in [0, 1] per response; NaN: none."""
