"""Corrections for completions that were sampled with other probabilities than the policy is trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.surrogate import MAX_LOG_RATIO


class SamplerCorrection(ABC):
    """Weighs tokens by their probability in the training pass over that with which they were sampled.

    The two differ by rounding: other kernels, other batch shapes, 4-bit products that are computed one way for few
    rows and another way for many. `train/response/sampling_mismatch` shows by how much.
    """

    @abstractmethod
    def __call__(
        self, trained: Float[Tensor, "N T"], sampled: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]
    ) -> Float[Tensor, "N T"]:
        """The weight of each token's advantage; 1 leaves it as it is.

        Args:
            trained: Log-probability of each token in the training pass, before the update, in nats.
            sampled: Log-probability it was sampled with, at the same temperature, in nats.
            mask: True on the tokens that count.
        """


class NoCorrection(SamplerCorrection):
    """Every token counts as it is. The null member."""

    def __call__(
        self, trained: Float[Tensor, "N T"], sampled: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]
    ) -> Float[Tensor, "N T"]:
        """Ones."""
        return torch.ones_like(trained)


class TruncatedImportance(SamplerCorrection):
    """The truncated importance ratio `min(p_trained / p_sampled, cap)`. Ionides (2008); Yao et al. (2025).

    Args:
        cap: Largest weight, at least 1.
    """

    def __init__(self, cap: float = 2.0) -> None:
        if not cap >= 1.0:
            raise UserError(f"`cap` must be at least 1, the weight where both passes agree; got {cap}. Try 2.")
        self.cap = cap

    def __call__(
        self, trained: Float[Tensor, "N T"], sampled: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]
    ) -> Float[Tensor, "N T"]:
        """min(p_trained / p_sampled, cap) on each token; 1 outside the mask."""
        ratio = (trained - sampled).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        return ratio.clamp(max=self.cap).masked_fill(~mask, 1.0)
