"""Random masking of whole vision patches."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.errors import UserError
from vlcal.perturbations.base import Perturbation


class PatchMask(Perturbation):
    """Paints over a random share of the patches that the model sees as one token each; the published perturbation.

    The release masks 14-pixel patches off the model's own grid, so that nearly every image token keeps a
    part of what it showed; here a token is hidden whole or not at all.

    Args:
        strength: Share of patches masked, in [0, 1]; above 0 at least one is.
        fill: Grey level of a masked patch, in [0, 1].
    """

    def __init__(self, strength: float = 0.8, fill: float = 0.5) -> None:
        super().__init__(strength)
        if not 0.0 <= fill <= 1.0:
            raise UserError(f"`fill` must lie in [0, 1] like every pixel; got {fill}. Divide an 8-bit level by 255.")
        self.fill = fill

    def __call__(
        self, image: Float[Tensor, "3 H W"], rng: torch.Generator, grid: tuple[int, int]
    ) -> Float[Tensor, "3 H W"]:
        """The image with patches painted over."""
        hidden = self._hidden_cells(rng, grid)
        rows = _cell_of_pixel(image.shape[-2], grid[0])
        columns = _cell_of_pixel(image.shape[-1], grid[1])
        return image.masked_fill(hidden[rows[:, None], columns[None, :]].to(image.device), self.fill)

    def _hidden_cells(self, rng: torch.Generator, grid: tuple[int, int]) -> Bool[Tensor, "rows columns"]:
        """True on the cells to paint over, exactly the asked share of them."""
        rows, columns = grid
        if rows < 1 or columns < 1:
            raise UserError(f"`grid` must hold at least one row and one column of patches; got {grid}.")
        cells = rows * columns
        count = max(1, round(self.strength * cells)) if self.strength > 0.0 else 0
        hidden = torch.zeros(cells, dtype=torch.bool)
        hidden[torch.randperm(cells, generator=rng)[:count]] = True
        return hidden.view(rows, columns)


def _cell_of_pixel(pixels: int, cells: int) -> Int[Tensor, " pixels"]:
    """The cell under each pixel's centre; right also where the model resizes the image to its grid."""
    return (2 * torch.arange(pixels) + 1) * cells // (2 * pixels)
