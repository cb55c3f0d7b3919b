"""Which completions are sampled: how many, by what, from which seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.policy import GroupEngine, RolloutEngine


@dataclass(frozen=True)
class SamplingPlan:
    """How the completions of one batch are sampled.

    Args:
        engine: What samples.
        group_size: Completions per prompt.
        seed: Of everything drawn, together with the prompt.
    """

    engine: RolloutEngine
    group_size: int
    seed: int


class Sampling:
    """The completions of a run: those that are learned from, and those that are validated.

    Args:
        group_size: Completions per prompt in training, `G`, at least 2.
        training: Engine that samples what is learned from.
        validation: Engine that samples the one completion per prompt that is validated.
        seed: Of everything drawn in a step, together with the step and the prompt.
        chunk_prompts: Prompts that are on the device at once: their images, and their completions while they are
            sampled. A step goes through sampling, scoring and update in chunks of so many, a validation likewise.
            Memory follows it; what is learned does not. `vlcal doctor` says how many fit.
    """

    @fresh_defaults
    def __init__(
        self,
        group_size: int = 8,
        training: RolloutEngine = GroupEngine(),
        validation: RolloutEngine = GroupEngine(),
        seed: int = 0,
        chunk_prompts: int = 1_000_000,
    ) -> None:
        if group_size < 2:
            raise UserError(
                f"`group_size` must be at least 2, since a lone completion has no baseline; got {group_size}."
            )
        if chunk_prompts < 1:
            raise UserError(f"`chunk_prompts` must be at least 1, or nothing is sampled; got {chunk_prompts}.")
        self.group_size = group_size
        self.training = training
        self.validation = validation
        self.seed = seed
        self.chunk_prompts = chunk_prompts

    def training_plan(self, step: int) -> SamplingPlan:
        """How a batch is sampled at a step of training."""
        return SamplingPlan(self.training, self.group_size, draw_seed(self.seed, "train", str(step)))

    def validation_plan(self) -> SamplingPlan:
        """How a batch is sampled in validation: the same completions whatever the step."""
        return SamplingPlan(self.validation, 1, draw_seed(self.seed, "validation"))


def draw_seed(seed: int, *what: str) -> int:
    """A seed for one draw, the same on every machine and rank, so that a step can be replayed alone."""
    digest = hashlib.blake2b("\0".join((str(seed), *what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
