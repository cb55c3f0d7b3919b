"""Which tokens of a response its advantage falls on, and how hard."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.types import Certainty, Responses


class AdvantageReweighter(ABC):
    """Shares a response's advantage out among its tokens; knows no reward and keeps every sign."""

    @abstractmethod
    def __call__(
        self, advantages: Float[Tensor, "N T"], certainty: Certainty, responses: Responses
    ) -> Float[Tensor, "N T"]:
        """The advantages, some of them scaled."""


class VisualCertaintyReweighter(AdvantageReweighter):
    """Punishes an ungrounded vision token of a bad response harder and spares a grounded one; as published.

    Args:
        strength: Largest change of a token's advantage as a share of it, in [0, 1]; 0 changes nothing. A scheduler may
            move it between steps.
    """

    def __init__(self, strength: float = 0.1) -> None:
        self.strength = strength

    @property
    def strength(self) -> float:
        """Largest change of a token's advantage as a share of it."""
        return self._strength

    @strength.setter
    def strength(self, strength: float) -> None:
        if not 0.0 <= strength <= 1.0:
            raise ValueError(f"`strength` must lie in [0, 1], since above 1 an advantage changes sign; got {strength}.")
        self._strength = float(strength)

    def __call__(
        self, advantages: Float[Tensor, "N T"], certainty: Certainty, responses: Responses
    ) -> Float[Tensor, "N T"]:
        """Negative advantages of vision tokens times 1 + strength (1 - 2 label); the others as they are."""
        blamed = responses.spans.vision & (advantages < 0.0)
        return torch.where(blamed, advantages * (1.0 + self.strength * (1.0 - 2.0 * certainty.token)), advantages)


class UniformReweighter(AdvantageReweighter):
    """Leaves every token the advantage of its response."""

    def __call__(
        self, advantages: Float[Tensor, "N T"], certainty: Certainty, responses: Responses
    ) -> Float[Tensor, "N T"]:
        """The advantages."""
        return advantages
