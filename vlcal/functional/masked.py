"""Sums, means and spreads of what a mask counts; True counts."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_sum(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int = -1
) -> Float[Tensor, "*reduced"]:
    """Sum of the values that count; 0 where none does. What the mask leaves out may even be NaN.

    >>> masked_sum(torch.tensor([1.0, 2.0, float("nan")]), torch.tensor([True, True, False]))
    tensor(3.)
    """
    return torch.where(mask, values, 0).sum(dim)


def masked_mean(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int = -1
) -> Float[Tensor, "*reduced"]:
    """Mean of the values that count; NaN, with a gradient of 0, where none does: absent is not 0.

    >>> masked_mean(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([[True, True], [False, False]]))
    tensor([2., nan])
    """
    count = mask.sum(dim)
    mean = masked_sum(values, mask, dim) / count.clamp(min=1)
    return torch.where(count > 0, mean, torch.nan)


def masked_std(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int = -1
) -> Float[Tensor, "*reduced"]:
    """Population standard deviation of the values that count; 0 for one value, NaN for none.

    Values that differ by no more than rounding give exactly 0, since dividing by such a spread would make a signal
    out of rounding errors. The gradient there is 0 too, where that of a bare square root is not a number.

    >>> masked_std(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]))
    tensor(1.)
    """
    if values.shape[dim] == 0:
        return masked_mean(values, mask, dim)
    # Not masked_mean: its NaN for an empty row would reach the gradient of that row through the square.
    mean = (masked_sum(values, mask, dim) / mask.sum(dim).clamp(min=1)).unsqueeze(dim)
    variance = masked_mean((values - mean) ** 2, mask, dim)
    flat = _equal_up_to_rounding(values.detach(), mask, dim) | (variance == 0)
    return torch.where(flat, 0, torch.where(flat, 1, variance).sqrt())


def _equal_up_to_rounding(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int
) -> Bool[Tensor, "*reduced"]:
    """True where at least one value counts and those that do lie within four rounding steps of each other."""
    lowest = torch.where(mask, values, torch.inf).amin(dim)
    highest = torch.where(mask, values, -torch.inf).amax(dim)
    largest = torch.where(mask, values.abs(), 0).amax(dim)
    spread = highest - lowest
    # An infinite value makes both sides of the comparison infinite, and is anything but flat.
    return mask.any(dim) & spread.isfinite() & (spread <= 4 * torch.finfo(values.dtype).eps * largest)
