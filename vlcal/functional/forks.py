"""Continuations of one reading side by side: what the reading is worth, and what a conclusion from it is worth.

Rows lie group after group, G to each. `siblings` says of every row which members of its group continue the same
reading; the other functions take it from there.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.functional.groups import in_groups
from vlcal.functional.masked import masked_mean


def siblings(
    tokens: Int[Tensor, "N T"], shared: Bool[Tensor, "N T"], group_size: int
) -> Bool[Tensor, "N {group_size}"]:
    """Which members of its group have the shared tokens of each row, itself among them; it alone where it shares none.

    Readings that were sampled twice alike are one reading.

    >>> tokens, shared = torch.tensor([[7, 1], [7, 2], [3, 1]]), torch.tensor([[True, False]] * 3)
    >>> siblings(tokens, shared, 3).int()
    tensor([[1, 1, 0],
            [1, 1, 0],
            [0, 0, 1]], dtype=torch.int32)
    """
    _, reading = torch.unique(tokens.masked_fill(~shared, -1), dim=0, return_inverse=True)
    groups = reading.reshape(-1, group_size)
    alike = (groups[:, :, None] == groups[:, None, :]).reshape(-1, group_size)
    members: Bool[Tensor, "N G"] = alike & shared.any(1, keepdim=True) | itself(len(tokens), group_size).to(
        alike.device
    )
    return members


def itself(rows: int, group_size: int) -> Bool[Tensor, "N G"]:
    """True at each row's own place in its group.

    >>> itself(3, 3).int()
    tensor([[1, 0, 0],
            [0, 1, 0],
            [0, 0, 1]], dtype=torch.int32)
    """
    return torch.eye(group_size, dtype=torch.bool).repeat(rows // group_size, 1)


def of_group(values: Float[Tensor, " N"], group_size: int) -> Float[Tensor, "N {group_size}"]:
    """For each row the values of its whole group.

    >>> of_group(torch.tensor([1.0, 2.0]), 2)
    tensor([[1., 2.],
            [1., 2.]])
    """
    return in_groups(values, group_size).repeat_interleave(group_size, 0)


def reading_advantages(
    values: Float[Tensor, " N"], sampled: Bool[Tensor, " N"], group_size: int
) -> Float[Tensor, " N"]:
    """The value of a reading less the mean value of the other readings that were sampled; 0 where there is none.

    >>> reading_advantages(torch.tensor([0.5, 0.5, 1.0, 1.0]), torch.tensor([True, False, True, False]), 4)
    tensor([-0.5000, -0.2500,  0.5000,  0.2500])
    """
    others = of_group(sampled.float(), group_size).bool() & ~itself(len(values), group_size).to(values.device)
    return torch.where(others.any(1), values - masked_mean(of_group(values, group_size), others), 0.0)


def conclusion_advantages(rewards: Float[Tensor, " N"], alike: Bool[Tensor, "N G"]) -> Float[Tensor, " N"]:
    """The reward of a conclusion less the mean reward of its siblings; 0 where it has none.

    >>> conclusion_advantages(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool())
    tensor([ 1., -1.,  0.])
    """
    size = alike.shape[1]
    others = alike & ~itself(len(rewards), size).to(rewards.device)
    return torch.where(others.any(1), rewards - masked_mean(of_group(rewards, size), others), 0.0)
