"""The reference model that the policy is held close to."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from vlcal.errors import UserError
from vlcal.policy.policy import Policy


class Reference(ABC):
    """The policy as it was before it learned anything; what a `ReferenceKL` holds the policy close to."""

    @abstractmethod
    def attach(self, policy: Policy) -> None:
        """Take from the untrained policy what the reference needs."""

    def models(self) -> list[Policy]:
        """The models of its own that it holds; none, where it is the policy in another state."""
        return []

    @abstractmethod
    def model(self, policy: Policy) -> AbstractContextManager[Policy]:
        """A context that gives the reference as a policy."""


class AdapterOff(Reference):
    """The policy's own weights as they were when training started: no second model in memory.

    Adapters are switched off; where they started from an existing adapter, that one is put in their place.
    """

    def attach(self, policy: Policy) -> None:
        """Refuse a policy without adapters, and one whose adapters change the image features."""
        with policy.without_adapters():
            pass
        if not policy.vision_frozen:
            raise UserError(
                "`reference` AdapterOff shares the image features with the policy, so the vision tower must stay as it "
                "is; this policy's learns. Use LanguageLayers, or NoReferenceKL."
            )

    @contextmanager
    def model(self, policy: Policy) -> Iterator[Policy]:
        """The policy as it started, without dropout."""
        with policy.evaluating(), policy.without_adapters():
            yield policy


class FrozenCopy(Reference):
    """A copy of the policy from before the first step, for policies that learn their own weights."""

    def __init__(self) -> None:
        self._copies: list[Policy] = []  # in a list, so that no module takes it for a part that is saved

    def attach(self, policy: Policy) -> None:
        """Copy the policy."""
        if not policy.vision_frozen:
            raise UserError(
                "`reference` FrozenCopy shares the image features with the policy, so the vision tower must stay as it "
                "is; this policy's learns. Use LanguageModel, or LoRA with AdapterOff."
            )
        if policy.lockstep.together:
            raise UserError(
                "`reference` FrozenCopy copies whole weights, and ranks share those of this policy since it was "
                "validated; train a module of its own."
            )
        self._copies = [copy.deepcopy(policy).requires_grad_(False).eval()]

    def models(self) -> list[Policy]:
        """The copy, once it is made."""
        return self._copies

    @contextmanager
    def model(self, policy: Policy) -> Iterator[Policy]:
        """The copy, on the device of the policy."""
        (frozen,) = self._copies
        yield frozen.to(policy.device)
