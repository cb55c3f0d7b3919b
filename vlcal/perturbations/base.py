"""The family of perturbations and its null member."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError


class Perturbation(ABC):
    """Removes information from an image, so that tokens grounded in it become less likely.

    The policy is scored on the clean and on the perturbed image; the divergence of the two is the evidence that
    certainty is made from. All randomness comes from the generator that is handed in: one state gives one image.

    Args:
        strength: How much is removed, in [0, 1]; 0 leaves the image as it is. A scheduler may move it between steps.
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength

    @property
    def strength(self) -> float:
        """How much is removed, in [0, 1]; 0 leaves the image as it is."""
        return self._strength

    @strength.setter
    def strength(self, strength: float) -> None:
        self._strength = checked_strength(strength)

    @abstractmethod
    def __call__(
        self, image: Float[Tensor, "3 H W"], rng: torch.Generator, grid: tuple[int, int]
    ) -> Float[Tensor, "3 H W"]:
        """The perturbed image, in [0, 1] like the clean one.

        Args:
            image: The clean image in [0, 1], on any device.
            rng: A generator on the CPU, so that the draw is the same whatever the device.
            grid: Rows and columns of the merged patches the model makes of this image, one cell per image token.
        """


class NoPerturbation(Perturbation):
    """Leaves every image as it is, which costs no pass; its strength stays 0 even where a scheduler moves it.

    For a certainty that is read off the clean image alone, such as `LikelihoodCertainty`.
    """

    def __init__(self) -> None:
        super().__init__(strength=0.0)

    @property
    def strength(self) -> float:
        """Always 0."""
        return 0.0

    @strength.setter
    def strength(self, strength: float) -> None:
        """Ignored, so that dropping the perturbation from an experiment is one line."""

    def __call__(
        self, image: Float[Tensor, "3 H W"], rng: torch.Generator, grid: tuple[int, int]
    ) -> Float[Tensor, "3 H W"]:
        """The image itself."""
        return image


def checked_strength(strength: float) -> float:
    """The strength, if it is one."""
    if not 0.0 <= strength <= 1.0:
        raise UserError(f"`strength` must lie in [0, 1], where 0 leaves the image as it is; got {strength}.")
    return float(strength)
