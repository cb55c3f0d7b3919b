"""Loss of the surroundings."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from vlcal.perturbations.base import Perturbation


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
