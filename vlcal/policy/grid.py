"""Where the image tokens of a picture lie on it."""

from __future__ import annotations

from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import ProcessorMixin

from vlcal.policy.encode import processed

TOKENS_OF_A_TILE = ("image_seq_length", "image_seq_len", "num_image_tokens")  # every family has a name of its own


def token_grid(processor: ProcessorMixin, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the image tokens that a picture of this size, alone in its prompt, turns into.

    A family that cuts pictures of any size into patches says how many. One that cuts them into tiles of one size is
    shown a picture whose colours name the place of each pixel; how fast they change on the finest tile tells to what
    size the whole picture was stretched, bars and thumbnails aside.
    """
    inputs = processed(processor, [""], [[_places(height, width)]], do_normalize=False)
    if (grid := inputs.get("image_grid_thw")) is not None:
        rows, columns = (grid[0, 1:] // processor.image_processor.merge_size).tolist()
        return rows, columns
    tiles, side = inputs["pixel_values"].flatten(0, -4), isqrt(_tile_tokens(processor))
    steps = [(_step(tile[0].diff(dim=0)), _step(tile[1].diff(dim=1))) for tile in tiles]
    down, across = min(steps, key=lambda step: step[0] * step[1])
    return _cells(down, tiles.shape[-2] / side), _cells(across, tiles.shape[-1] / side)


def _places(height: int, width: int) -> Float[Tensor, "3 H W"]:
    """A picture whose first colour is the distance from the top, the second that from the left, both in [0, 1]."""
    down = (torch.arange(height) + 0.5) / height
    across = (torch.arange(width) + 0.5) / width
    return torch.stack([*torch.meshgrid(down, across, indexing="ij"), torch.zeros(height, width)])


def _step(changes: Float[Tensor, "n m"]) -> float:
    """How far one gets on the picture from pixel to pixel of a tile; 1, the whole way, on a tile that shows none."""
    rising = changes[changes > 1e-6]
    return float(rising.median()) if len(rising) else 1.0


def _cells(step: float, pixels: float) -> int:
    """Cells of so many pixels that the whole picture is long, of which a pixel is a `step`."""
    return max(1, round(1 / step / pixels))


def _tile_tokens(processor: ProcessorMixin) -> int:
    found = (getattr(processor, name, None) for name in TOKENS_OF_A_TILE)
    tokens = next((count for count in found if count is not None), None)
    if tokens is None:
        raise ValueError(
            f"`processor` must say how many tokens a tile takes, as one of {', '.join(TOKENS_OF_A_TILE)}; "
            f"{type(processor).__name__} does not. Use a perturbation that needs no grid, such as GaussianNoise."
        )
    return int(tokens)
