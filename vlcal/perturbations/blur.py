"""Loss of detail."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from vlcal.errors import UserError
from vlcal.perturbations.base import Perturbation


class Blur(Perturbation):
    """Blurs with a Gaussian whose width grows with the image, so that it takes the same detail at every resolution.

    Args:
        strength: Width of the blur as a share of the widest, in [0, 1].
        widest: Standard deviation at strength 1 as a share of the shorter side, in (0, 1].
    """

    def __init__(self, strength: float = 0.8, widest: float = 0.1) -> None:
        super().__init__(strength)
        if not 0.0 < widest <= 1.0:
            raise UserError(f"`widest` must lie in (0, 1], a share of the shorter side; got {widest}.")
        self.widest = widest

    def __call__(
        self, image: Float[Tensor, "3 H W"], rng: torch.Generator, grid: tuple[int, int]
    ) -> Float[Tensor, "3 H W"]:
        """The image, blurred; reflected at its border."""
        height, width = image.shape[-2:]
        sigma = self.strength * self.widest * min(height, width)
        if sigma == 0.0:
            return image
        reach = math.ceil(3.0 * sigma)
        tall, wide = (2 * min(reach, side - 1) + 1 for side in (height, width))  # reflection cannot reach further
        # One axis at a time: the same result as the square kernel at a hundredth of its cost on a large image.
        rows: Tensor = gaussian_blur(image, kernel_size=[wide, 1], sigma=[sigma, sigma])
        blurred: Tensor = gaussian_blur(rows, kernel_size=[1, tall], sigma=[sigma, sigma])
        return blurred.clamp(0.0, 1.0)
