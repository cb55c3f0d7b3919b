"""Ways to join the confidence in what was seen with the confidence in what was concluded."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from vlcal.functional.scoring import harmonic_confidence, minimum_confidence, product_confidence


class OverallConfidence(ABC):
    """Joins visual and reasoning confidence into the one that is held against correctness."""

    @abstractmethod
    def __call__(
        self, visual: Float[Tensor, "*#shape"], reasoning: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*joint"]:
        """The overall confidence in [0, 1]; broadcasts, NaN where either is absent."""


class HarmonicMean(OverallConfidence):
    """Twice the product over the sum, 0 when either is 0: the weakest link rules; as published."""

    def __call__(
        self, visual: Float[Tensor, "*#shape"], reasoning: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*joint"]:
        """`phi = 2 c_v c_r / (c_v + c_r)`."""
        return harmonic_confidence(visual, reasoning)


class Product(OverallConfidence):
    """The product: right only if seen right and, independently, concluded right."""

    def __call__(
        self, visual: Float[Tensor, "*#shape"], reasoning: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*joint"]:
        """`phi = c_v c_r`."""
        return product_confidence(visual, reasoning)


class Minimum(OverallConfidence):
    """The smaller of the two."""

    def __call__(
        self, visual: Float[Tensor, "*#shape"], reasoning: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*joint"]:
        """`phi = min(c_v, c_r)`."""
        return minimum_confidence(visual, reasoning)
