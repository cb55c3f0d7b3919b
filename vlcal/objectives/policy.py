"""The family of policy objectives and its null member."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.types import PolicyUpdate


class PolicyObjective(ABC):
    """Turns advantages into a loss on the log-probabilities of the sampled tokens."""

    @property
    @abstractmethod
    def needs_reference(self) -> bool:
        """True where the loss asks for the reference model's log-probabilities, which cost a pass of their own."""

    @abstractmethod
    def __call__(
        self,
        log_probs: Float[Tensor, "N T"],
        old: Float[Tensor, "N T"],
        reference: Float[Tensor, "N T"] | None,
        advantages: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> PolicyUpdate:
        """The loss and its figures.

        Args:
            log_probs: Of the sampled tokens under the policy as it is now, with gradient.
            old: Of the same tokens under the policy that sampled them.
            reference: Of the same tokens under the reference model; may be None unless `needs_reference`.
            advantages: Of the same tokens.
            mask: True on the tokens that the loss may move.
        """

    @abstractmethod
    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """What the loss is a mean over: parts of a batch, weighted by it, add up to the loss of the whole."""


class NoPolicyObjective(PolicyObjective):
    """Asks for no change: a loss of 0 whose gradient is 0."""

    needs_reference = False

    def __call__(
        self,
        log_probs: Float[Tensor, "N T"],
        old: Float[Tensor, "N T"],
        reference: Float[Tensor, "N T"] | None,
        advantages: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> PolicyUpdate:
        """A loss of 0 whose gradient is 0, and no figures."""
        return PolicyUpdate(loss=connected_zero(log_probs), stats={})

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """Nothing."""
        return 0


def connected_zero(values: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """0 with a graph whose gradient is 0, whatever the values: 0 times an infinite one would be NaN."""
    return values.masked_fill(torch.ones_like(values, dtype=torch.bool), 0.0).sum()
