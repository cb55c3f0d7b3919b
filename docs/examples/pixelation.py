"""A perturbation of your own: squares of one colour each."""

import torch
from torch.nn.functional import avg_pool2d, interpolate

from vlcal.errors import UserError
from vlcal.perturbations import Perturbation


class Pixelation(Perturbation):
    """Replaces squares of the image by their mean colour.

    Args:
        strength: Side of a square at this strength as a share of `largest`, in [0, 1]; 0 leaves the image as it is.
        largest: Side of a square at strength 1, in pixels, at least 2.
    """

    def __init__(self, strength: float = 0.5, largest: int = 16) -> None:
        super().__init__(strength)
        if largest < 2:
            raise UserError(
                f"`largest` must be at least 2 pixels, since smaller squares change nothing; got {largest}."
            )
        self.largest = largest

    def __call__(self, image: torch.Tensor, rng: torch.Generator, grid: tuple[int, int]) -> torch.Tensor:
        """The image in squares; nothing is drawn, so `rng` stays as it is."""
        side = max(1, round(self.strength * self.largest))
        means = avg_pool2d(image[None], side, ceil_mode=True)
        wide = interpolate(means, scale_factor=side, mode="nearest")[0]
        return wide[:, : image.shape[1], : image.shape[2]]
