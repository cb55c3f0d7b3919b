"""How the completions of a group begin: what is sampled freely, and what is given to start with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from vlcal.policy import EncodedPrompts, Policy, RolloutEngine
from vlcal.text import Grammar, parse
from vlcal.types import Rollouts


@dataclass(frozen=True)
class Asked:
    """The prompts of one chunk, and what samples completions of them.

    Args:
        policy: What writes.
        encoded: The prompts.
        engine: What samples.
        seeds: Gives a seed of each prompt for what is drawn.
        grammar: The form of a response.
        perturbed: Gives the prompts with perturbed images.
    """

    policy: Policy
    encoded: EncodedPrompts
    engine: RolloutEngine
    seeds: Callable[[str], list[int]]
    grammar: Grammar
    perturbed: Callable[[], EncodedPrompts]

    def readings(self, rollouts: Rollouts) -> list[list[str]]:
        """What the completions of each prompt say that they see; those without a vision part are left out."""
        said = [self._reading(text) for text in rollouts.texts]
        size = rollouts.group_size
        groups = [said[start : start + size] for start in range(0, len(said), size)]
        return [[reading for reading in group if reading is not None] for group in groups]

    def _reading(self, text: str) -> str | None:
        span = parse(text, self.grammar).spans["vision"]
        return None if span is None else text[slice(*span)]


class Starts(ABC):
    """Samples the groups of a step, some completions of which may begin with given tokens."""

    @abstractmethod
    def check(self, group_size: int) -> None:
        """Refuse a group size that no group can be made of."""

    @abstractmethod
    def sample(self, asked: Asked, group_size: int) -> Rollouts:
        """As many completions of each prompt, in prompt-major order."""


class FreeStarts(Starts):
    """Leaves every completion to the policy from its first token on. The null member."""

    def check(self, group_size: int) -> None:
        """Every size is right."""

    def sample(self, asked: Asked, group_size: int) -> Rollouts:
        """The policy's own completions."""
        return asked.engine.sample(asked.policy, asked.encoded, group_size, asked.seeds("rollout"))


def side_by_side(first: Rollouts, second: Rollouts) -> Rollouts:
    """The completions of each prompt in both, those of the first ahead."""
    sizes = (first.group_size, second.group_size)
    width = max(first.tokens.shape[1], second.tokens.shape[1])

    def merged(one: Tensor, other: Tensor) -> Tensor:
        parts = []
        for values, size in zip((one, other), sizes, strict=True):
            padded = pad(values, (0, width - values.shape[1])) if values.ndim > 1 else values
            parts.append(padded.reshape(-1, size, *padded.shape[1:]))
        return torch.cat(parts, 1).flatten(0, 1)

    names = [f.name for f in fields(Rollouts) if isinstance(getattr(first, f.name), Tensor)]
    texts = [
        text
        for prompt in range(len(first) // sizes[0])
        for rollouts, size in zip((first, second), sizes, strict=True)
        for text in rollouts.texts[prompt * size : (prompt + 1) * size]
    ]
    tensors = {name: merged(getattr(first, name), getattr(second, name)) for name in names}
    return Rollouts(**tensors, texts=tuple(texts), group_size=sum(sizes))
