"""How weights are updated: optimizer, learning rate over time, gradient clipping."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from vlcal.errors import UserError
from vlcal.parts import fresh_defaults


class Optimizer(ABC):
    """How AdamW (Loshchilov and Hutter, 2019) keeps the running means of the gradient and of its square."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
        """The optimizer of these groups of weights, each with its own weight decay."""


class TorchAdamW(Optimizer):
    """In the dtype of the weights, beside them: eight bytes for each float32 weight that learns."""

    def build(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
        """AdamW of torch."""
        return torch.optim.AdamW(groups, lr=lr, betas=betas)


class PagedAdamW8bit(Optimizer):
    """In 8 bits, in pages that move to host memory when the GPU is full. Dettmers et al. (2022, 2023).

    Two bytes for each weight that learns, in place of eight. Worth it for whole models: adapters are so small that
    little is saved. Matrices of fewer than 4096 numbers stay in 32 bits. On the CPU, which has no pages, 8 bits alone.
    """

    def build(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
        """AdamW of bitsandbytes."""
        import bitsandbytes as bnb

        devices = {weight.device.type for group in groups for weight in group["params"]}
        kind = bnb.optim.AdamW8bit if devices == {"cpu"} else bnb.optim.PagedAdamW8bit
        optimizer: torch.optim.Optimizer = kind(groups, lr=lr, betas=betas)
        return optimizer


class Optimization:
    """AdamW under a learning rate that rises linearly, then falls along a cosine.

    It moves with each step, and is the same for all updates into which a step is cut. At progress t of the run, with
    warm-up w and final share f, `lr(t) = lr t / w` up to w, and beyond it
    `lr (f + (1 - f) (1 + cos(pi (t - w) / (1 - w))) / 2)`.

    Args:
        lr: Highest learning rate.
        warmup: Share of the run over which the learning rate rises, in [0, 1).
        final: Share of `lr` that is left at the end, in [0, 1]; 1 keeps it constant.
        weight_decay: Decay of matrices; vectors are never decayed.
        betas: Decay of the running mean and of the running square of the gradient.
        clip: Largest norm of the gradient; infinite switches clipping off.
        optimizer: How AdamW keeps its running means.
    """

    @fresh_defaults
    def __init__(
        self,
        lr: float = 1e-6,
        warmup: float = 0.0,
        final: float = 1.0,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        clip: float = 1.0,
        optimizer: Optimizer = TorchAdamW(),
    ) -> None:
        if not lr > 0:
            raise UserError(f"`lr` must be above 0; got {lr}.")
        if not 0 <= warmup < 1:
            raise UserError(f"`warmup` must be a share of the run in [0, 1), where 0 starts at `lr`; got {warmup}.")
        if not 0 <= final <= 1:
            raise UserError(f"`final` must be a share of `lr` in [0, 1], where 1 keeps it constant; got {final}.")
        if not clip > 0:
            raise UserError(f"`clip` must be above 0, or no weight moves; got {clip}. Infinity switches clipping off.")
        self.lr = lr
        self.warmup = warmup
        self.final = final
        self.weight_decay = weight_decay
        self.betas = betas
        self.clip = clip
        self.optimizer = optimizer

    def build(self, weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these weights; `govern` puts the settings in force."""
        learning = sorted((weight for weight in weights if weight.requires_grad), key=_of_a_part)
        if not learning:
            raise UserError("`policy.adaptation` leaves no weight to learn; use LoRA, LanguageModel or WholeModel.")
        groups = [
            {"params": [weight for weight in alike if (weight.ndim >= 2) == matrices], "weight_decay": decay}
            for _, alike in ((part, list(some)) for part, some in groupby(learning, _of_a_part))
            for matrices, decay in ((True, self.weight_decay), (False, 0.0))
        ]
        return self.optimizer.build([group for group in groups if group["params"]], self.lr, self.betas)

    def govern(self, optimizer: torch.optim.Optimizer, step: int, steps: int) -> float:
        """Put the settings in force at a step of a run; gives the learning rate.

        The optimizer brings those of an earlier run where its running means were loaded from a checkpoint.
        """
        lr = self.lr * self.factor(step / steps, 1 / steps)
        for group in optimizer.param_groups:
            matrices = any(weight.ndim >= 2 for weight in group["params"])
            group.update(lr=lr, betas=self.betas, weight_decay=self.weight_decay if matrices else 0.0)
        return lr

    def factor(self, progress: float, stride: float = 0.0) -> float:
        """The share of `lr` in force at `progress` of the run, in [0, 1]; `stride` is one step's share of the run."""
        if progress < self.warmup:
            return (progress + stride) / (self.warmup + stride)
        along = (progress - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(along, 1.0))) / 2


def _of_a_part(weight: nn.Parameter) -> bool:
    """Whether other ranks hold the rest of a weight: the kernels of an optimizer take such ones or whole ones."""
    return isinstance(weight, DTensor)
