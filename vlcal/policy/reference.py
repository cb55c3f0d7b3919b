"""The reference model that the policy is held close to."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.functional.vocabulary import distillation_kl
from vlcal.policy.encode import EncodedPrompts
from vlcal.policy.micro_batch import UNLIMITED
from vlcal.policy.policy import Policy


class Reference(ABC):
    """The policy as it was before it learned anything.

    An objective may ask for its log-probabilities of the sampled tokens. Beside that, `anchor` holds the policy to it
    by the exact KL over the whole vocabulary: the estimate from sampled tokens is too noisy to hold a policy at
    learning rates at which confidences are learned quickly.

    Args:
        anchor: Factor on the exact KL of the policy from the reference, in nats, averaged over the tokens that the
            policy objective may move; 0 leaves it out.
    """

    def __init__(self, anchor: float = 0.0) -> None:
        if not anchor >= 0:
            raise ValueError(f"`anchor` must be at least 0, where 0 leaves it out; got {anchor}.")
        self.anchor = anchor

    @abstractmethod
    def attach(self, policy: Policy) -> None:
        """Take what is needed from the policy while it is still untrained."""

    @abstractmethod
    def model(self, policy: Policy) -> AbstractContextManager[Policy]:
        """A context that gives the reference as a policy of its own."""

    @torch.no_grad()
    def log_probs(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        temperature: float,
        budget: int = UNLIMITED,
    ) -> Float[Tensor, "N T"]:
        """Log-probabilities of the tokens under the reference, in nats, without gradient."""
        found = torch.zeros(tokens.shape, device=tokens.device)
        with self.model(policy) as reference:
            for part in reference.micro_batches(encoded, mask, budget):
                found[part.rows] = reference.score(
                    part.encoded, tokens[part.rows], mask[part.rows], temperature, part.owners
                )[0]
        return found

    def divergence(
        self,
        policy: Policy,
        hidden: Float[Tensor, "N T D"],
        encoded: EncodedPrompts,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        held: Bool[Tensor, "N T"],
        owners: Int[Tensor, " N"] | None = None,
    ) -> Float[Tensor, ""]:
        """Exact KL of the policy, whose hidden states are given, from the reference, in nats, meaned over `held`."""
        with self.model(policy) as reference, torch.no_grad():
            target = reference.hidden(encoded, tokens, mask, owners)
        return distillation_kl(target, hidden, reference.head, policy.head, held)


class AdapterOff(Reference):
    """The policy's own weights as they were when training started: no second model in memory.

    Adapters are switched off; where they started from an existing adapter, that one is put in their place.

    Args:
        anchor: Factor on the exact KL of the policy from the reference, in nats, averaged over the tokens that the
            policy objective may move; 0 leaves it out.
    """

    def attach(self, policy: Policy) -> None:
        """Refuse a policy without adapters, and one whose adapters change what its images look like."""
        with policy.without_adapters():
            pass
        if not policy.vision_frozen:
            raise ValueError(
                "`reference` AdapterOff shares the image features with the policy, so the vision tower must stay as it "
                "is; this policy's learns. Use LanguageLayers, or an objective without reference and `anchor` 0."
            )

    @contextmanager
    def model(self, policy: Policy) -> Iterator[Policy]:
        """The policy as it was, without dropout."""
        was_training = policy.training
        policy.eval()
        try:
            with policy.without_adapters():
                yield policy
        finally:
            policy.train(was_training)


class FrozenCopy(Reference):
    """A copy of the policy from before the first step, for policies that learn their own weights.

    Args:
        anchor: Factor on the exact KL of the policy from the reference, in nats, averaged over the tokens that the
            policy objective may move; 0 leaves it out.
    """

    def __init__(self, anchor: float = 0.0) -> None:
        super().__init__(anchor)
        self._copies: list[Policy] = []  # in a list, so that no module takes it for a part that is saved

    def attach(self, policy: Policy) -> None:
        """Copy the policy."""
        if not policy.vision_frozen:
            raise ValueError(
                "`reference` FrozenCopy shares the image features with the policy, so the vision tower must stay as it "
                "is; this policy's learns. Use LanguageModel, or LoRA with AdapterOff."
            )
        self._copies = [copy.deepcopy(policy).requires_grad_(False).eval()]

    @contextmanager
    def model(self, policy: Policy) -> Iterator[Policy]:
        """The copy; image features are shared where the vision tower is frozen."""
        (frozen,) = self._copies
        yield frozen.to(policy.device)
