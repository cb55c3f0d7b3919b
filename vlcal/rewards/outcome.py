"""Rewards for what was answered and in which shape."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from vlcal.rewards.base import Attempts, Reward


class AccuracyReward(Reward):
    """The verifier's verdict on the answer, from 0 to 1: `r = correct`.

    Args:
        weight: Factor on this term in the total.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)

    def __call__(self, attempts: Attempts) -> Float[Tensor, " N"]:
        """The verdicts."""
        return attempts.responses.correct


class FormatReward(Reward):
    """1 where the text matches the whole grammar, 0 where it does not.

    Args:
        weight: Factor on this term in the total.
    """

    def __init__(self, weight: float = 0.4) -> None:
        super().__init__(weight)

    def __call__(self, attempts: Attempts) -> Float[Tensor, " N"]:
        """1 or 0."""
        return attempts.responses.well_formed.to(attempts.responses.correct.dtype)
