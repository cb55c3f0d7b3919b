"""The grid of image tokens over an image."""

from __future__ import annotations

from math import isqrt, sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import ProcessorMixin

from vlcal.policy.encode import processed

TOKENS_OF_A_TILE = ("image_seq_length", "image_seq_len", "num_image_tokens")  # the name differs between families


def token_grid(processor: ProcessorMixin, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the image tokens of an image of this size that is alone in its prompt.

    A processor that cuts images of any size into patches returns the grid, or the place of each patch. One that makes
    tiles of one size, or a picture of any size, is given an image whose colours are pixel coordinates: their change
    from pixel to pixel, on the tile where it is smallest, gives the size to which the image was scaled, bars and
    thumbnails aside. Where nothing says how many pixels a token stands for, it is a grid of square cells, about as many
    as the image has tokens.
    """
    inputs = processed(processor, [""], [[_coordinates(height, width)]], do_normalize=False)
    if (grid := inputs.get("image_grid_thw")) is not None:
        rows, columns = (grid[0, 1:] // processor.image_processor.merge_size).tolist()
        return rows, columns
    if (places := inputs.get("image_position_ids")) is not None:  # column and row of each patch, negative on padding
        columns, rows = ((places.amax((0, 1)) + 1) // processor.image_processor.pooling_kernel_size).tolist()
        return max(1, rows), max(1, columns)
    pixels = inputs["pixel_values"]
    cell = _cell(processor, pixels.shape[-2], pixels.shape[-1])
    if pixels.ndim < 4 or cell is None:
        tokens = inputs["input_ids"].shape[1] - processed(processor, [""], [[]])["input_ids"].shape[1]
        rows = max(1, round(sqrt(tokens * height / width)))
        return rows, max(1, round(tokens / rows))
    steps = [(_step(tile[0].diff(dim=0)), _step(tile[1].diff(dim=1))) for tile in pixels.flatten(0, -4)]
    down, across = min(steps, key=lambda step: step[0] * step[1])
    return _cells(down, cell[0]), _cells(across, cell[1])


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


def _cell(processor: ProcessorMixin, height: int, width: int) -> tuple[float, float] | None:
    """Height and width in pixels of what becomes one token, on a tile of this size; None where nothing says it."""
    counts = (getattr(processor, name, None) for name in TOKENS_OF_A_TILE)
    if (tokens := next((count for count in counts if count is not None), None)) is not None:
        side = isqrt(int(tokens))
        return height / side, width / side
    if (patch := getattr(processor, "patch_size", None)) is None:
        return None
    pixels = float(patch * getattr(processor, "spatial_merge_size", 1))  # the latter of Mistral 3
    return pixels, pixels
