"""Loss of everything but the mean colour."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.perturbations.base import Perturbation


class Blank(Perturbation):
    """Fades the image into its own mean colour; at full strength nothing is left to see.

    Args:
        strength: Share of the mean colour in the mixture, in [0, 1].
    """

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__(strength)

    def __call__(
        self, image: Float[Tensor, "3 H W"], rng: torch.Generator, grid: tuple[int, int]
    ) -> Float[Tensor, "3 H W"]:
        """The image, faded."""
        colour = image.mean(dim=(-2, -1), keepdim=True)
        return ((1.0 - self.strength) * image + self.strength * colour).clamp(0.0, 1.0)
