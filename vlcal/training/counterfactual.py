"""Counterfactual readings: completions that are made to begin with a reading the policy did not choose.

What makes a stated reading right does not depend on where it came from, so that the confidence stated behind it is
scored as any other; and since readings of one image now differ, a confidence that looks at the image alone no longer
does as well as one that looks at the reading.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch

from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.text.alterations import Alteration, OtherWord
from vlcal.training.starts import Asked, FreeStarts, Starts, side_by_side
from vlcal.types import Assessment, Rollouts


class Counterfactuals(Starts):
    """Replaces some completions of each group by ones that are started with another reading.

    Args:
        members: Completions of each group that are started so, at least 1.
        share: Of the groups in which they are, in [0, 1]; in the others they start freely.
    """

    def __init__(self, members: int = 1, share: float = 1.0) -> None:
        if members < 1:
            raise UserError(f"`members` must be at least 1; got {members}. Use FreeStarts to start none.")
        self.members = members
        self.share = share

    @property
    def share(self) -> float:
        """Of the groups in which completions are started with another reading."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        if not 0.0 <= share <= 1.0:
            raise UserError(f"`share` must be in [0, 1]; got {share}.")
        self._share = share

    @abstractmethod
    def readings(self, asked: Asked, written: Sequence[Sequence[str]]) -> list[list[str]]:
        """At most `members` readings for each prompt.

        Args:
            asked: The prompts.
            written: What the policy's own completions of each prompt say that they see.
        """

    def check(self, group_size: int) -> None:
        """Refuse a group of which fewer than two completions would be the policy's own."""
        if group_size - self.members < 2:
            raise UserError(
                f"`starts.members` must leave at least 2 of `group_size` to the policy; got {self.members} of "
                f"{group_size}. Raise `group_size`."
            )

    def sample(self, asked: Asked, group_size: int) -> Rollouts:
        """The policy's own completions, and behind those of each prompt the ones that were started with a reading.

        Where there is no reading to start with, the completion starts freely, and stays apart all the same.
        """
        own = FreeStarts().sample(asked, group_size - self.members)
        drawn = [random.Random(seed).random() < self.share for seed in asked.seeds("counterfactual group")]
        readings = [
            group if taken else []
            for taken, group in zip(drawn, self.readings(asked, asked.readings(own)), strict=True)
        ]
        starts = [
            self._start(asked, group[member] if member < len(group) else None, own.tokens.shape[1])
            for group in readings
            for member in range(self.members)
        ]
        begun = asked.engine.sample(asked.policy, asked.encoded, self.members, asked.seeds("counterfactual"), starts)
        return side_by_side(own, replace(begun, counterfactual=torch.ones_like(begun.truncated)))

    def _start(self, asked: Asked, reading: str | None, longest: int) -> list[int]:
        """The tokens up to the end of a reading; none where nothing would fit behind them."""
        if reading is None:
            return []
        tokens = asked.policy.response_tokens(asked.grammar.start(reading))
        return tokens if len(tokens) < longest else []


class PerturbedReadings(Counterfactuals):
    """Readings that the policy samples where the image is perturbed: as it errs by itself.

    They cost one more sampling of `members` completions, of which all but the reading is dropped.

    Args:
        members: Completions of each group that are started so, at least 1.
        share: Of the groups in which they are, in [0, 1]; in the others they start freely.
    """

    def readings(self, asked: Asked, written: Sequence[Sequence[str]]) -> list[list[str]]:
        """One reading of each completion that has one."""
        seeds = asked.seeds("counterfactual reading")
        return asked.readings(asked.engine.sample(asked.policy, asked.perturbed(), self.members, seeds))


class GroupReadings(Counterfactuals):
    """Readings of the policy's own completions of the same prompt, each different one as likely as any other.

    Args:
        members: Completions of each group that are started so, at least 1.
        share: Of the groups in which they are, in [0, 1]; in the others they start freely.
    """

    def readings(self, asked: Asked, written: Sequence[Sequence[str]]) -> list[list[str]]:
        """Different readings while there are some."""
        drawn = []
        for seed, group in zip(asked.seeds("counterfactual reading"), written, strict=True):
            different = sorted(set(group))
            drawn.append(random.Random(seed).sample(different, min(self.members, len(different))))
        return drawn


class AlteredReadings(Counterfactuals):
    """Readings of the policy's own completions of the same prompt, altered.

    Args:
        members: Completions of each group that are started so, at least 1.
        share: Of the groups in which they are, in [0, 1]; in the others they start freely.
        alteration: What is changed.
    """

    @fresh_defaults
    def __init__(self, members: int = 1, share: float = 1.0, alteration: Alteration = OtherWord()) -> None:
        super().__init__(members, share)
        self.alteration = alteration

    def readings(self, asked: Asked, written: Sequence[Sequence[str]]) -> list[list[str]]:
        """Altered readings, each of a completion drawn anew; none where there is nothing to alter."""
        every = [reading for group in written for reading in group]
        drawn = []
        for seed, group in zip(asked.seeds("counterfactual reading"), written, strict=True):
            rng = random.Random(seed)
            altered = [self.alteration(rng.choice(group), every, rng) for _ in range(self.members if group else 0)]
            drawn.append([reading for reading in altered if reading is not None])
        return drawn


def own_and_counterfactual(assessment: Assessment) -> tuple[Assessment, Assessment]:
    """The policy's own completions, in groups, and the counterfactual ones, each as the only one of its prompt."""
    apart = assessment.rollouts.counterfactual
    own = assessment.completions((~apart).nonzero()[:, 0])
    size = len(own) // len(assessment.prompts)
    grouped = replace(own, prompts=assessment.prompts, rollouts=replace(own.rollouts, group_size=size))
    return grouped, assessment.completions(apart.nonzero()[:, 0])
