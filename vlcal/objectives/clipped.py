"""The clipped surrogate of PPO, as GRPO and its followers use it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.functional.masked import masked_mean
from vlcal.functional.surrogate import clipped_surrogate, k3_penalty
from vlcal.objectives.aggregation import LossAggregation, TokenMean
from vlcal.objectives.policy import PolicyObjective
from vlcal.types import PolicyUpdate


class ClippedSurrogate(PolicyObjective):
    """Advantage times importance ratio, clipped, plus a KL penalty to the reference; defaults as published.

    Args:
        clip_low: How far below 1 the importance ratio may fall before the gradient stops, in [0, 1).
        clip_high: How far above 1 it may rise, at least 0.
        dual_clip: Bound on the ratio where the advantage is negative, above 1; infinity turns it off.
        kl_coefficient: Factor on the KL penalty, per nat, at least 0; 0 needs no reference model.
        aggregation: How token losses become one number.
    """

    def __init__(
        self,
        clip_low: float = 0.2,
        clip_high: float = 0.3,
        dual_clip: float = 3.0,
        kl_coefficient: float = 1e-4,
        aggregation: LossAggregation = TokenMean(),
    ) -> None:
        if not 0.0 <= clip_low < 1.0:
            raise ValueError(f"`clip_low` must lie in [0, 1), since a ratio cannot fall below 0; got {clip_low}.")
        if not clip_high >= 0.0:
            raise ValueError(f"`clip_high` must be at least 0, since it is added to 1; got {clip_high}. Try 0.3.")
        if not dual_clip > 1.0:
            raise ValueError(f"`dual_clip` must be above 1, the ratio of an unchanged policy; got {dual_clip}. Try 3.")
        if not kl_coefficient >= 0.0:
            raise ValueError(f"`kl_coefficient` must be at least 0, since it penalises; got {kl_coefficient}.")
        self.clip_low = clip_low
        self.clip_high = clip_high
        self.dual_clip = dual_clip
        self.kl_coefficient = kl_coefficient
        self.aggregation = aggregation

    @property
    def needs_reference(self) -> bool:
        """True unless the KL penalty is switched off."""
        return self.kl_coefficient > 0.0

    def __call__(
        self,
        log_probs: Float[Tensor, "N T"],
        old: Float[Tensor, "N T"],
        reference: Float[Tensor, "N T"] | None,
        advantages: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> PolicyUpdate:
        """The clipped loss plus the penalty; figures of both, the KL only where there is a reference."""
        losses, clipped = clipped_surrogate(
            log_probs, old, advantages, clip_low=self.clip_low, clip_high=self.clip_high, dual_clip=self.dual_clip
        )
        policy_loss = self.aggregation(losses, mask)
        stats = {
            "policy_loss": float(policy_loss.detach()),
            "clip_fraction": _mean(clipped.to(losses.dtype), mask),
            "ratio_mean": _mean((log_probs - old).exp(), mask),
        }
        if reference is None:
            if self.needs_reference:
                raise ValueError(
                    f"`reference` must hold log-probabilities at `kl_coefficient` {self.kl_coefficient}; got None."
                    " Score the reference model, or set `kl_coefficient` to 0."
                )
            return PolicyUpdate(loss=policy_loss, stats=stats)
        penalty = k3_penalty(log_probs, reference)
        loss = policy_loss + self.kl_coefficient * self.aggregation(penalty, mask)
        return PolicyUpdate(loss=loss, stats=stats | {"kl": _mean(penalty, mask)})

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """What the aggregation takes its mean over."""
        return self.aggregation.count(mask)


def _mean(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> float:
    """The mean over all tokens in the mask, for a figure; NaN where there is none."""
    with torch.no_grad():
        return float(masked_mean(values.flatten(), mask.flatten()))
