"""Ways to make a digit hard to read, at the 8 x 8 pixels it was scanned to.

Spoiled at display size instead, a digit is averaged clean again by any reader, and the strength says nothing about
who can read it. Each kind is scaled so that a good reader is sure below strength .3 and guesses above .8.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.data.digits.glyphs import SIDE


class Spoil(ABC):
    """One way to spoil the ink of a digit; `strength` 0 leaves it as it is, 1 leaves next to nothing."""

    @abstractmethod
    def __call__(self, ink: Float[Tensor, "8 8"], strength: float, rng: torch.Generator) -> Float[Tensor, "8 8"]:
        """The spoiled ink, not clipped."""


class Noise(Spoil):
    """White noise, up to twice as strong as the ink itself."""

    def __call__(self, ink: Float[Tensor, "8 8"], strength: float, rng: torch.Generator) -> Float[Tensor, "8 8"]:
        """The ink under noise whose deviation grows with the square of the strength."""
        return ink + 2.0 * strength**2 * torch.randn(ink.shape, generator=rng)


class Occlusion(Spoil):
    """Pixels painted grey, each with probability `strength`."""

    def __call__(self, ink: Float[Tensor, "8 8"], strength: float, rng: torch.Generator) -> Float[Tensor, "8 8"]:
        """The ink with some pixels lost."""
        return torch.where(torch.rand(ink.shape, generator=rng) < strength, torch.tensor(0.5), ink)


class Blur(Spoil):
    """Gaussian blur up to half the digit's width, with the little sensor noise that keeps it from being undone."""

    def __call__(self, ink: Float[Tensor, "8 8"], strength: float, rng: torch.Generator) -> Float[Tensor, "8 8"]:
        """The smeared ink."""
        pixels = torch.arange(float(SIDE))
        kernel = torch.exp(-((pixels[:, None] - pixels[None]) ** 2) / (2 * max(4.0 * strength, 0.05) ** 2))
        kernel = kernel / kernel.sum(1, keepdim=True)
        smeared: Tensor = kernel @ ink @ kernel.T
        return smeared + 0.05 * math.sqrt(strength) * torch.randn(ink.shape, generator=rng)


SPOILS: dict[str, Spoil] = {"noise": Noise(), "occlusion": Occlusion(), "blur": Blur()}
