"""Gradients of which each rank holds a part."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def clip_gradients(weights: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale the gradient so that its norm is at most `largest`; gives the norm before.

    Parts of a gradient lie on their ranks, whole ones on all: the square of its norm is the sum of those of all parts,
    and once of the whole ones. Each rank finds the same.
    """
    learning = [weight for weight in weights if weight.grad is not None]
    parts = [weight.grad.to_local() for weight in learning if isinstance(weight.grad, DTensor)]
    if not parts:
        return torch.nn.utils.clip_grad_norm_(learning, largest)
    own = torch.nn.utils.get_total_norm(parts) ** 2
    dist.all_reduce(own)
    held = [weight.grad for weight in learning if weight.grad is not None and not isinstance(weight.grad, DTensor)]
    norm = (own + torch.nn.utils.get_total_norm(held) ** 2).sqrt()
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)
    for gradient in (*parts, *held):
        gradient.mul_(factor)
    return norm
