"""Perturbations of the whole image: noise, blur, a crop of its centre, its mean colour."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur

from vlcal.errors import UserError
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


class Blur(Perturbation):
    """Blurs with a Gaussian whose width grows with the image, so that it removes the same detail at every resolution.

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


class CenterCrop(Perturbation):
    """Keeps the centre of the image and stretches it to the old size.

    Args:
        strength: Share of each side that is cut away, in [0, 1]; at least one pixel stays.
    """

    def __init__(self, strength: float = 0.5) -> None:
        super().__init__(strength)

    def __call__(
        self, image: Float[Tensor, "3 H W"], rng: torch.Generator, grid: tuple[int, int]
    ) -> Float[Tensor, "3 H W"]:
        """The centre, stretched bilinearly."""
        height, width = image.shape[-2:]
        kept_height, kept_width = (max(1, round((1.0 - self.strength) * side)) for side in (height, width))
        top, left = (height - kept_height) // 2, (width - kept_width) // 2
        centre = image[:, top : top + kept_height, left : left + kept_width]
        return interpolate(centre[None], size=(height, width), mode="bilinear", align_corners=False)[0].clamp(0.0, 1.0)


class Blank(Perturbation):
    """Fades the image into its own mean colour; at full strength nothing else is left.

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
