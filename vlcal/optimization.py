"""How weights are moved: optimizer, learning rate over time, gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


class Optimization:
    """AdamW (Loshchilov and Hutter, 2019) under a learning rate that rises linearly, then falls along a cosine.

    Args:
        lr: Highest learning rate.
        warmup: Share of the run over which the learning rate rises, in [0, 1).
        final: Share of `lr` that is left at the end, in [0, 1]; 1 keeps it constant.
        weight_decay: Decay of matrices; vectors are never decayed.
        betas: Decay of the running mean and of the running square of the gradient.
        clip: Largest norm of the gradient; infinite switches clipping off.
    """

    def __init__(
        self,
        lr: float = 1e-6,
        warmup: float = 0.0,
        final: float = 1.0,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        clip: float = 1.0,
    ) -> None:
        if not lr > 0:
            raise ValueError(f"`lr` must be above 0; got {lr}.")
        if not 0 <= warmup < 1:
            raise ValueError(f"`warmup` must be a share of the run in [0, 1), where 0 starts at `lr`; got {warmup}.")
        if not 0 <= final <= 1:
            raise ValueError(f"`final` must be a share of `lr` in [0, 1], where 1 keeps it constant; got {final}.")
        if not clip > 0:
            raise ValueError(f"`clip` must be above 0, or no weight moves; got {clip}. Infinity switches clipping off.")
        self.lr = lr
        self.warmup = warmup
        self.final = final
        self.weight_decay = weight_decay
        self.betas = betas
        self.clip = clip

    def build(self, weights: Iterable[nn.Parameter], steps: int) -> tuple[torch.optim.Optimizer, LambdaLR]:
        """The optimizer of these weights and its learning rate over `steps` steps."""
        learning = [weight for weight in weights if weight.requires_grad]
        if not learning:
            raise ValueError("`policy.adaptation` leaves no weight to learn; use LoRA, LanguageModel or WholeModel.")
        groups = [
            {"params": [weight for weight in learning if weight.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [weight for weight in learning if weight.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=self.lr, betas=self.betas)
        return optimizer, LambdaLR(optimizer, lambda step: self.factor(step / max(steps, 1), 1 / max(steps, 1)))

    def factor(self, progress: float, stride: float = 0.0) -> float:
        """The share of `lr` in force at `progress` of the run, in [0, 1]; `stride` is one step's share of the run."""
        if progress < self.warmup:
            return (progress + stride) / (self.warmup + stride)
        along = (progress - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(along, 1.0))) / 2
