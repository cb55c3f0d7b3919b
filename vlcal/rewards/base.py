"""The family of rewards, its null member, and how several become one total."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.errors import NonFiniteError, UserError
from vlcal.types import Certainty, PromptBatch, Responses, Rewards, Rollouts


@dataclass(frozen=True)
class Attempts:
    """The responses to some prompts, before they are rewarded: all that a reward is given.

    Args:
        prompts: The questions, their targets, and in `extras` the other columns of their rows.
        rollouts: What was written; `texts` are the responses as text.
        responses: What they say, and whether it is right.
        certainty: How certain the policy was of what it saw.
    """

    prompts: PromptBatch
    rollouts: Rollouts
    responses: Responses
    certainty: Certainty

    def __len__(self) -> int:
        return len(self.responses)

    @property
    def asked(self) -> PromptBatch:
        """The prompt of each response, in the order of the responses."""
        size = self.rollouts.group_size
        return self.prompts.select([row // size for row in range(len(self))])


class Reward(ABC):
    """Gives each response a number, higher is better.

    Terms are computed and logged unweighted; `combine` weighs and adds them, and the advantages are made of the total.

    Args:
        weight: Factor on this term in the total. A scheduler may move it between steps.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    @property
    def weight(self) -> float:
        """Factor on this term in the total."""
        return self._weight

    @weight.setter
    def weight(self, weight: float) -> None:
        if not math.isfinite(weight):
            raise UserError(f"`weight` must be a finite number; got {weight}. A weight of 0 switches the term off.")
        self._weight = float(weight)

    @abstractmethod
    def __call__(self, attempts: Attempts) -> Float[Tensor, " N"]:
        """The unweighted reward of each response; finite everywhere, also where a response is malformed."""


class ZeroReward(Reward):
    """Rewards nothing. The null member.

    Args:
        weight: Without effect.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)

    def __call__(self, attempts: Attempts) -> Float[Tensor, " N"]:
        """0 for each response."""
        return torch.zeros_like(attempts.responses.correct)


def combine(rewards: Mapping[str, Reward], attempts: Attempts) -> Rewards:
    """Every term by name, unweighted, and their weighted sum `R = sum_k w_k r_k`.

    Raises:
        UserError: If there is no reward.
        NonFiniteError: If one is not finite: a NaN in one row would reach its whole group.
    """
    if not rewards:
        raise UserError("`rewards` must name at least one reward; got none. Use ZeroReward to reward nothing.")
    terms = {name: reward(attempts) for name, reward in rewards.items()}
    for name, term in terms.items():
        broken = int((~term.isfinite()).sum())
        if broken:
            raise NonFiniteError(
                f"`rewards.{name}` must be finite for every response, absent confidences included; got {broken} of "
                f"{len(term)} rows that are not. Give such rows a number in {type(rewards[name]).__name__}."
            )
    total = torch.stack([rewards[name].weight * term for name, term in terms.items()]).sum(dim=0)
    return Rewards(terms=terms, total=total)
