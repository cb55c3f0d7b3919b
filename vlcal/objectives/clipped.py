"""The clipped surrogate of PPO, as GRPO and its followers use it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.masked import masked_mean
from vlcal.functional.surrogate import clipped_surrogate
from vlcal.objectives.aggregation import LossAggregation, TokenMean
from vlcal.objectives.policy import PolicyObjective
from vlcal.parts import fresh_defaults
from vlcal.types import PolicyUpdate


class ClippedSurrogate(PolicyObjective):
    """Advantage times importance ratio, clipped; defaults as published.

    With r = p_new / p_old of a token and A its advantage, its loss is `max(-r A, -clip(r, 1 - low, 1 + high) A)`, and
    where A < 0 at most `-dual A`. Schulman et al. (2017), PPO; Yu et al. (2025), DAPO; Ye et al. (2020), dual clip.

    Args:
        clip_low: How far below 1 the importance ratio may fall before the gradient stops, in [0, 1).
        clip_high: How far above 1 it may rise, at least 0.
        dual_clip: Bound on the ratio where the advantage is negative, above 1; infinity turns it off.
        aggregation: How token losses become one number.
    """

    @fresh_defaults
    def __init__(
        self,
        clip_low: float = 0.2,
        clip_high: float = 0.3,
        dual_clip: float = 3.0,
        aggregation: LossAggregation = TokenMean(),
    ) -> None:
        if not 0.0 <= clip_low < 1.0:
            raise UserError(f"`clip_low` must lie in [0, 1), since a ratio cannot fall below 0; got {clip_low}.")
        if not clip_high >= 0.0:
            raise UserError(f"`clip_high` must be at least 0, since it is added to 1; got {clip_high}. Try 0.3.")
        if not dual_clip > 1.0:
            raise UserError(f"`dual_clip` must be above 1, the ratio of an unchanged policy; got {dual_clip}. Try 3.")
        self.clip_low = clip_low
        self.clip_high = clip_high
        self.dual_clip = dual_clip
        self.aggregation = aggregation

    def __call__(
        self,
        log_probs: Float[Tensor, "N T"],
        old: Float[Tensor, "N T"],
        advantages: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> PolicyUpdate:
        """The clipped loss; the share of clipped tokens and the mean ratio beside it."""
        losses, clipped = clipped_surrogate(
            log_probs, old, advantages, clip_low=self.clip_low, clip_high=self.clip_high, dual_clip=self.dual_clip
        )
        loss = self.aggregation(losses, mask)
        stats = {
            "policy_loss": float(loss.detach()),
            "clip_fraction": _mean(clipped.to(losses.dtype), mask),
            "ratio_mean": _mean((log_probs - old).exp(), mask),
        }
        return PolicyUpdate(loss, stats)

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """What the aggregation takes its mean over."""
        return self.aggregation.count(mask)


def _mean(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> float:
    """The mean over all tokens in the mask, for a metric; NaN where there is none."""
    with torch.no_grad():
        return float(masked_mean(values.flatten(), mask.flatten()))
