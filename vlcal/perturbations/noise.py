"""Additive noise."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.perturbations.base import Perturbation


class GaussianNoise(Perturbation):
    """Adds independent Gaussian noise to every pixel and clips to [0, 1].

    Args:
        strength: Standard deviation of the noise in units of the pixel range, in [0, 1].
    """

    def __init__(self, strength: float = 0.5) -> None:
        super().__init__(strength)

    def __call__(
        self, image: Float[Tensor, "3 H W"], rng: torch.Generator, grid: tuple[int, int]
    ) -> Float[Tensor, "3 H W"]:
        """The image with noise on it."""
        noise = torch.randn(image.shape, generator=rng).to(image)
        return (image + self.strength * noise).clamp(0.0, 1.0)
