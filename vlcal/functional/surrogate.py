"""The clipped policy surrogate, the penalty that keeps the policy near a reference, and ways to average over tokens."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.masked import masked_mean, masked_sum
from vlcal.functional.vocabulary import sampled_kl_k3

# exp(20) is 5e8: far beyond any clip, far from overflow. Beyond it the value is held and the gradient is 0.
MAX_LOG_RATIO = 20.0


def clipped_surrogate(
    log_probs: Float[Tensor, "N T"],
    old: Float[Tensor, "N T"],
    advantages: Float[Tensor, "N T"],
    clip_low: float,
    clip_high: float,
    dual_clip: float,
) -> tuple[Float[Tensor, "N T"], Bool[Tensor, "N T"]]:
    """Loss of each token, and True where a clip holds its gradient at 0.

    Schulman et al. (2017), PPO, equation 7, with a lower and an upper bound of their own: the ratio of new to old
    probability stays in [1 - clip_low, 1 + clip_high] (Yu et al. 2025, DAPO). Ye et al. (2020), dual-clip PPO: with a
    negative advantage the loss never exceeds `dual_clip` times its size; `math.inf` turns that off.

    >>> loss, clipped = clipped_surrogate(
    ...     torch.tensor([[2.0, 0.5, 4.0]]).log(), torch.zeros(1, 3), torch.tensor([[1.0, 1.0, -1.0]]), 0.2, 0.3, 3.0
    ... )
    >>> loss, clipped
    (tensor([[-1.3000, -0.5000,  3.0000]]), tensor([[ True, False,  True]]))
    """
    if not (0 <= clip_low < 1 and clip_high >= 0 and dual_clip > 1):
        raise UserError(
            "`clip_low` must lie in [0, 1), `clip_high` must be at least 0 and `dual_clip` above 1, since they bound a "
            f"ratio that starts at 1; got {clip_low}, {clip_high} and {dual_clip}."
        )
    ratio = (log_probs - old).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_low, 1 + clip_high))
    bounded = torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)
    too_high = (advantages > 0) & (ratio > 1 + clip_high)
    too_low = (advantages < 0) & ((ratio < 1 - clip_low) | (ratio > dual_clip))
    return bounded, too_high | too_low


def k3_penalty(log_probs: Float[Tensor, "N T"], reference: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """Low-variance estimate of KL(policy || reference) at each token, differentiable, never negative.

    Schulman (2020); the form of GRPO, Shao et al. (2024), equation 4. Its exponent is capped at 20, so that one token
    which the policy has all but given up cannot overflow the loss.

    >>> k3_penalty(torch.tensor([[0.0, -999.0]]), torch.tensor([[0.0, 0.0]])).isfinite()
    tensor([[True, True]])
    """
    return sampled_kl_k3(log_probs, torch.minimum(reference, log_probs + MAX_LOG_RATIO))


def token_mean(losses: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, ""]:
    """Mean over all tokens that count, so that long completions weigh more; 0 where none does. DAPO's choice.

    >>> token_mean(torch.tensor([[1.0, 1.0], [4.0, 9.0]]), torch.tensor([[True, True], [True, False]]))
    tensor(2.)
    """
    return masked_sum(losses.reshape(-1), mask.reshape(-1)) / mask.sum().clamp(min=1)


def sequence_mean_token_mean(losses: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, ""]:
    """Mean over completions of the mean over their tokens; completions without a token do not count. GRPO's choice.

    >>> sequence_mean_token_mean(torch.tensor([[1.0, 1.0], [4.0, 9.0]]), torch.tensor([[True, True], [True, False]]))
    tensor(2.5000)
    """
    counts = mask.any(-1)
    return masked_sum(masked_mean(losses, mask), counts) / counts.sum().clamp(min=1)


def sequence_mean_token_sum_norm(
    losses: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], length: int
) -> Float[Tensor, ""]:
    """Mean over completions of the sum over their tokens, over a constant length: no bias by length.

    Liu et al. (2025), Dr. GRPO, arXiv 2503.20783. Every completion counts, even an empty one: the divisor is constant.

    >>> losses, mask = torch.tensor([[1.0, 1.0], [4.0, 9.0]]), torch.tensor([[True, True], [True, False]])
    >>> sequence_mean_token_sum_norm(losses, mask, length=2)
    tensor(1.5000)
    """
    if length < 1:
        raise UserError(f"`length` must be at least 1, the tokens a completion may have; got {length}.")
    return masked_sum(losses.reshape(-1), mask.reshape(-1)) / (length * max(len(losses), 1))
