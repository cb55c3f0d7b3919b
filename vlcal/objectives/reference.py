"""What holds the policy close to the reference: a term of the loss, and its null member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.surrogate import k3_penalty
from vlcal.functional.vocabulary import Head, distillation_kl, token_log_probs
from vlcal.objectives.aggregation import LossAggregation, TokenMean
from vlcal.objectives.policy import connected_zero
from vlcal.parts import fresh_defaults
from vlcal.types import PolicyUpdate


@dataclass(frozen=True)
class Predictions:
    """What a model predicts at the tokens of completions, as hidden states: (N, T, V) is never held.

    Args:
        hidden: The states that predict each token.
        head: Turns states into logits.
        tokens: The tokens that were sampled.
        mask: True on tokens that the head can score.
        temperature: They were sampled at.
    """

    hidden: Float[Tensor, "N T D"]
    head: Head
    tokens: Int[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    temperature: float

    @cached_property
    def log_probs(self) -> Float[Tensor, "N T"]:
        """Log-probability of each token, in nats; 0 outside the mask."""
        return token_log_probs(self.hidden, self.head, self.tokens, self.mask, self.temperature)


class ReferenceKL(ABC):
    """The KL divergence between the policy and the reference, which is the policy before it learned."""

    @property
    @abstractmethod
    def needs_reference(self) -> bool:
        """True where the term asks what the reference predicts, which costs a pass of its own."""

    @abstractmethod
    def __call__(self, policy: Predictions, reference: Predictions, mask: Bool[Tensor, "N T"]) -> PolicyUpdate:
        """The loss and its metrics.

        Args:
            policy: What the policy predicts as it is now, with gradient.
            reference: What the reference predicts at the same tokens, without.
            mask: True on the tokens that the policy objective may move.
        """

    @abstractmethod
    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """What the loss is a mean over: parts of a batch, weighted by it, add up to the loss of the whole."""


class NoReferenceKL(ReferenceKL):
    """Leaves the policy free, and needs no reference. The null member."""

    needs_reference = False

    def __call__(self, policy: Predictions, reference: Predictions, mask: Bool[Tensor, "N T"]) -> PolicyUpdate:
        """A loss of 0 whose gradient is 0, and no metrics."""
        return PolicyUpdate(connected_zero(policy.hidden), {})

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """Nothing."""
        return 0


class SampledReferenceKL(ReferenceKL):
    """An estimate from the sampled tokens alone, as published: `k3 = q/p - 1 - log(q/p)`.

    With p of the policy and q of the reference, k3 estimates KL(policy || reference) with little variance and is never
    negative. Schulman (2020); Shao et al. (2024), GRPO, equation 4. It is too noisy to hold a policy at the learning
    rates at which confidences are learned quickly: see `ExactReferenceKL`.

    Args:
        coefficient: Factor on the estimate, per nat, above 0.
        aggregation: How the estimates of tokens become one number.
    """

    needs_reference = True

    @fresh_defaults
    def __init__(self, coefficient: float = 1e-4, aggregation: LossAggregation = TokenMean()) -> None:
        self.coefficient = _checked(coefficient)
        self.aggregation = aggregation

    def __call__(self, policy: Predictions, reference: Predictions, mask: Bool[Tensor, "N T"]) -> PolicyUpdate:
        """The coefficient times the aggregated k3, which is `reference_kl`."""
        with torch.no_grad():
            target = reference.log_probs
        estimate = self.aggregation(k3_penalty(policy.log_probs, target), mask)
        return PolicyUpdate(self.coefficient * estimate, {"reference_kl": float(estimate.detach())})

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """What the aggregation takes its mean over."""
        return self.aggregation.count(mask)


class ExactReferenceKL(ReferenceKL):
    """The divergence over the whole vocabulary, averaged over tokens: no sampling noise.

    `KL(reference || policy) = sum_v q(v) log(q(v) / p(v))` at each token, with q of the reference and p of the policy:
    the direction that keeps probability wherever the reference has some.

    Args:
        coefficient: Factor on the divergence, per nat, above 0.
    """

    needs_reference = True

    def __init__(self, coefficient: float = 1.0) -> None:
        self.coefficient = _checked(coefficient)

    def __call__(self, policy: Predictions, reference: Predictions, mask: Bool[Tensor, "N T"]) -> PolicyUpdate:
        """The coefficient times the mean divergence, which is `reference_kl`."""
        divergence = distillation_kl(reference.hidden, policy.hidden, reference.head, policy.head, mask)
        return PolicyUpdate(self.coefficient * divergence, {"reference_kl": float(divergence.detach())})

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """Tokens."""
        return int(mask.sum())


def _checked(coefficient: float) -> float:
    """A coefficient that penalises."""
    if not coefficient > 0.0:
        raise UserError(f"`coefficient` must be above 0, since it penalises; got {coefficient}. Use NoReferenceKL.")
    return coefficient
