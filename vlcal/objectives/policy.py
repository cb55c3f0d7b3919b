"""The family of policy objectives and its null member."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.types import PolicyUpdate


class PolicyObjective(ABC):
    """Turns advantages into a loss on the log-probabilities of the sampled tokens."""

    @abstractmethod
    def __call__(
        self,
        log_probs: Float[Tensor, "N T"],
        old: Float[Tensor, "N T"],
        advantages: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> PolicyUpdate:
        """The loss and its metrics.

        Args:
            log_probs: Of the sampled tokens under the policy as it is now, with gradient.
            old: Of the same tokens under the policy that sampled them.
            advantages: Of the same tokens.
            mask: True on the tokens that the loss may move.
        """

    @abstractmethod
    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """What the loss is a mean over: parts of a batch, weighted by it, add up to the loss of the whole."""


class NoPolicyObjective(PolicyObjective):
    """Asks for no change: a loss of 0 whose gradient is 0. The null member."""

    def __call__(
        self,
        log_probs: Float[Tensor, "N T"],
        old: Float[Tensor, "N T"],
        advantages: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> PolicyUpdate:
        """A loss of 0 whose gradient is 0, and no metrics."""
        return PolicyUpdate(loss=connected_zero(log_probs), stats={})

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """Nothing."""
        return 0


def connected_zero(values: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """0 with a graph whose gradient is 0, whatever the values: 0 times an infinite one would be NaN."""
    return values.masked_fill(torch.ones_like(values, dtype=torch.bool), 0.0).sum()
