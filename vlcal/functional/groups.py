"""Rows in prompt-major order seen as groups: one row of the result per prompt."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError


def in_groups(values: Float[Tensor, " N"], group_size: int) -> Float[Tensor, "P G"]:
    """The completions of each prompt side by side.

    >>> import torch
    >>> in_groups(torch.tensor([1.0, 2.0, 3.0, 4.0]), 2)
    tensor([[1., 2.],
            [3., 4.]])
    """
    if group_size < 1 or len(values) % group_size:
        raise UserError(
            f"`group_size` must be at least 1 and divide the number of completions; got {group_size} for {len(values)}."
        )
    return values.reshape(-1, group_size)
