"""A random choice among perturbations."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.perturbations.base import Perturbation, checked_strength


class Mixture(Perturbation):
    """Applies one of several perturbations, drawn anew for each image.

    Moving the strength of the mixture scales the strengths its members were made with; move that or theirs, not both.

    Args:
        members: The perturbations to draw from.
        weights: How often each is drawn, one number of at least 0 per member; they need not sum to 1. A scheduler may
            move them between steps.
        strength: Scale on the members' own strengths, in [0, 1]; 1 leaves them as they were made.
    """

    def __init__(self, members: list[Perturbation], weights: list[float], strength: float = 1.0) -> None:
        if not members:
            raise UserError("`members` must name at least one perturbation to draw from; got none.")
        self.members = tuple(members)
        self._full_strengths = tuple(member.strength for member in members)
        self.weights = weights
        super().__init__(strength)

    @property
    def weights(self) -> list[float]:
        """How often each member is drawn."""
        return list(self._weights)

    @weights.setter
    def weights(self, weights: list[float]) -> None:
        if len(weights) != len(self.members):
            raise UserError(
                f"`weights` must hold one number per member; got {len(weights)} for {len(self.members)} members."
            )
        if not (all(weight >= 0.0 and math.isfinite(weight) for weight in weights) and sum(weights) > 0.0):
            raise UserError(f"`weights` must be finite, at least 0 and not all 0; got {list(weights)}.")
        self._weights = [float(weight) for weight in weights]

    @property
    def strength(self) -> float:
        """Scale on the members' own strengths, in [0, 1]."""
        return self._strength

    @strength.setter
    def strength(self, strength: float) -> None:
        self._strength = checked_strength(strength)
        for member, full in zip(self.members, self._full_strengths, strict=True):
            member.strength = self._strength * full

    def __call__(
        self, image: Float[Tensor, "3 H W"], rng: torch.Generator, grid: tuple[int, int]
    ) -> Float[Tensor, "3 H W"]:
        """What the drawn member makes of the image."""
        weights = torch.tensor(self._weights, dtype=torch.float64)
        drawn = int(torch.multinomial(weights, num_samples=1, generator=rng))
        return self.members[drawn](image, rng, grid)
