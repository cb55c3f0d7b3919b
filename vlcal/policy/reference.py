"""The reference model that the policy is held close to."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.policy.encode import EncodedPrompts
from vlcal.policy.policy import Policy


class Reference(ABC):
    """Scores completions as the policy would have before it learned anything."""

    def attach(self, policy: Policy) -> None:
        """Take what is needed from the policy while it is still untrained."""

    @abstractmethod
    def log_probs(
        self, policy: Policy, encoded: EncodedPrompts, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]
    ) -> Float[Tensor, "N T"]:
        """Log-probabilities of the tokens under the reference, in nats, without gradient."""


class AdapterOff(Reference):
    """The policy's own weights with its adapters disabled: no second model in memory."""

    @torch.no_grad()
    def log_probs(
        self, policy: Policy, encoded: EncodedPrompts, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]
    ) -> Float[Tensor, "N T"]:
        """Log-probabilities under the weights the adapters were added to."""
        with policy.without_adapters():
            return policy.score(encoded, tokens, mask)[0]


class FrozenCopy(Reference):
    """A copy of the policy from before the first step, for policies that learn their own weights."""

    def __init__(self) -> None:
        self._copies: list[Policy] = []  # in a list, so that no module takes it for a part that is saved

    def attach(self, policy: Policy) -> None:
        """Copy the policy."""
        self._copies = [copy.deepcopy(policy).requires_grad_(False).eval()]

    @torch.no_grad()
    def log_probs(
        self, policy: Policy, encoded: EncodedPrompts, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]
    ) -> Float[Tensor, "N T"]:
        """Log-probabilities under the copy; image features are shared where the vision tower is frozen."""
        (frozen,) = self._copies
        return frozen.to(policy.device).score(encoded, tokens, mask)[0]
