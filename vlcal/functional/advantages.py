"""Advantages of completions over the others of their group. A group of equal rewards teaches exactly nothing."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.groups import in_groups
from vlcal.functional.masked import masked_std


def group_centered(rewards: Float[Tensor, " N"], group_size: int) -> Float[Tensor, " N"]:
    """Reward less the mean of its group. Liu et al. (2025), Dr. GRPO, arXiv 2503.20783.

    >>> group_centered(torch.tensor([1.0, 0.0, 0.3, 0.3]), 2)
    tensor([ 0.5000, -0.5000,  0.0000,  0.0000])
    """
    centered, _ = _centered(rewards, group_size)
    return centered.reshape(-1)


def group_standardized(rewards: Float[Tensor, " N"], group_size: int, eps: float = 1e-6) -> Float[Tensor, " N"]:
    """Reward less the mean of its group, over the group's sample standard deviation plus `eps`.

    Shao et al. (2024), GRPO, arXiv 2402.03300, section 4.1.2. The paper leaves open which deviation; the common
    implementations take the sample's, with G - 1 below, and so does this one.

    >>> group_standardized(torch.tensor([1.0, 0.0, 0.3, 0.3]), 2)
    tensor([ 0.7071, -0.7071,  0.0000,  0.0000])
    """
    centered, std = _centered(rewards, group_size)
    return (centered / (std * math.sqrt(group_size / (group_size - 1)) + eps)).reshape(-1)


def leave_one_out(rewards: Float[Tensor, " N"], group_size: int) -> Float[Tensor, " N"]:
    """Reward less the mean of the others in its group. Ahmadian et al. (2024), RLOO, arXiv 2402.14740.

    >>> leave_one_out(torch.tensor([1.0, 0.0, 0.0]), 3)
    tensor([ 1.0000, -0.5000, -0.5000])
    """
    return group_centered(rewards, group_size) * (group_size / (group_size - 1))


def _centered(rewards: Float[Tensor, " N"], group_size: int) -> tuple[Float[Tensor, "P G"], Float[Tensor, "P 1"]]:
    """Rewards less their group's mean, and its population deviation; both exactly 0 where the group is flat."""
    if group_size < 2:
        raise UserError(f"`group_size` must be at least 2, since a lone completion has no baseline; got {group_size}.")
    groups = in_groups(rewards, group_size)
    std = masked_std(groups, torch.ones_like(groups, dtype=torch.bool)).unsqueeze(-1)
    # In float32 the mean of eight times 0.1 is not 0.1; what is left over, divided by eps, would look like a signal.
    return torch.where(std == 0, 0, groups - groups.mean(-1, keepdim=True)), std
