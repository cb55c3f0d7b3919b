"""The grid of image tokens over an image."""

from __future__ import annotations

from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import ProcessorMixin

from vlcal.errors import UserError
from vlcal.policy.encode import processed

TOKENS_OF_A_TILE = ("image_seq_length", "image_seq_len", "num_image_tokens")  # the name differs between families


def token_grid(processor: ProcessorMixin, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the image tokens of an image of this size that is alone in its prompt.

    A processor that cuts images of any size into patches returns the grid. One that cuts them into tiles of one size is
    given an image whose colours are pixel coordinates: their change from pixel to pixel, on the tile where it is
    smallest, gives the size to which the image was scaled, bars and thumbnails aside.
    """
    inputs = processed(processor, [""], [[_coordinates(height, width)]], do_normalize=False)
    if (grid := inputs.get("image_grid_thw")) is not None:
        rows, columns = (grid[0, 1:] // processor.image_processor.merge_size).tolist()
        return rows, columns
    tiles, side = inputs["pixel_values"].flatten(0, -4), isqrt(_tile_tokens(processor))
    steps = [(_step(tile[0].diff(dim=0)), _step(tile[1].diff(dim=1))) for tile in tiles]
    down, across = min(steps, key=lambda step: step[0] * step[1])
    return _cells(down, tiles.shape[-2] / side), _cells(across, tiles.shape[-1] / side)


def _coordinates(height: int, width: int) -> Float[Tensor, "3 H W"]:
    """An image whose first channel is the distance from the top and whose second that from the left, in [0, 1]."""
    down = (torch.arange(height) + 0.5) / height
    across = (torch.arange(width) + 0.5) / width
    return torch.stack([*torch.meshgrid(down, across, indexing="ij"), torch.zeros(height, width)])


def _step(changes: Float[Tensor, "n m"]) -> float:
    """The share of the image from one pixel of a tile to the next; 1 on a tile without image."""
    rising = changes[changes > 1e-6]
    return float(rising.median()) if len(rising) else 1.0


def _cells(step: float, pixels: float) -> int:
    """The length of the scaled image, `1 / step` pixels, in cells of `pixels` pixels."""
    return max(1, round(1 / step / pixels))


def _tile_tokens(processor: ProcessorMixin) -> int:
    counts = (getattr(processor, name, None) for name in TOKENS_OF_A_TILE)
    tokens = next((count for count in counts if count is not None), None)
    if tokens is None:
        raise UserError(
            f"`processor` must say how many tokens a tile takes, as one of {', '.join(TOKENS_OF_A_TILE)}; "
            f"{type(processor).__name__} does not. Use a perturbation that needs no grid, such as GaussianNoise."
        )
    return int(tokens)
