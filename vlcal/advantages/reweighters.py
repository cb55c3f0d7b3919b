"""How the advantage of a response is weighted on each of its tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.types import Certainty, Responses


class AdvantageReweighter(ABC):
    """Scales the advantage of a response on some of its tokens; the sign of every advantage stays."""

    @abstractmethod
    def __call__(
        self, advantages: Float[Tensor, "N T"], certainty: Certainty, responses: Responses
    ) -> Float[Tensor, "N T"]:
        """The advantages, some of them scaled."""


class VisualCertaintyReweighter(AdvantageReweighter):
    """Punishes an ungrounded vision token of a bad response harder and spares a grounded one; as published.

    On vision tokens with A_t < 0, `A_t <- A_t (1 + lambda (1 - 2 s_t))`, with s_t the label of the token and lambda the
    strength; other tokens keep theirs.

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
            raise UserError(f"`strength` must lie in [0, 1], since above 1 an advantage changes sign; got {strength}.")
        self._strength = float(strength)

    def __call__(
        self, advantages: Float[Tensor, "N T"], certainty: Certainty, responses: Responses
    ) -> Float[Tensor, "N T"]:
        """Negative advantages of vision tokens times 1 + strength (1 - 2 label); the others as they are."""
        blamed = responses.spans.vision & (advantages < 0.0)
        return torch.where(blamed, advantages * (1.0 + self.strength * (1.0 - 2.0 * certainty.token)), advantages)


class UniformReweighter(AdvantageReweighter):
    """Leaves every token the advantage of its response. The null member."""

    def __call__(
        self, advantages: Float[Tensor, "N T"], certainty: Certainty, responses: Responses
    ) -> Float[Tensor, "N T"]:
        """The advantages."""
        return advantages
