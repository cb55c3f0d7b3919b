"""Which completions are sampled: how many, by what, from which seed."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field

from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.policy import FedBackCertainty, GroupEngine, RolloutEngine, TransformersEngine
from vlcal.text import Grammar
from vlcal.training.starts import FreeStarts, Starts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SamplingPlan:
    """How the completions of one batch are sampled.

    Args:
        engine: What samples.
        group_size: Completions per prompt.
        seed: Of everything drawn, together with the prompt.
        starts: What they begin with.
    """

    engine: RolloutEngine
    group_size: int
    seed: int
    starts: Starts = field(default_factory=FreeStarts)


class Sampling:
    """The completions of a run: those that are learned from, and those that are validated.

    Args:
        group_size: Completions per prompt in training, `G`, at least 2.
        training: Engine that samples what is learned from, from all tokens: `top_p` 1.
        validation: Engine that samples what is validated.
        seed: Of everything drawn in a step, together with the step and the prompt.
        validation_group_size: Completions per prompt in validation. From 2 on, the AUROC within prompts is known.
        chunk_prompts: Prompts that are on the device at once: their images, and their completions while they are
            sampled. A step goes through sampling, scoring and update in chunks of so many, a validation likewise.
            Memory follows it; what is learned does not. `vlcal doctor` says how many fit.
        starts: What the completions of a group begin with, in training: nothing, a reading that the policy did not
            choose, from which the confidences alone learn (made for `ExpectedScore`), or one reading for several.
    """

    @fresh_defaults
    def __init__(
        self,
        group_size: int = 8,
        training: RolloutEngine = GroupEngine(),
        validation: RolloutEngine = GroupEngine(),
        seed: int = 0,
        validation_group_size: int = 1,
        chunk_prompts: int = 1_000_000,
        starts: Starts = FreeStarts(),
    ) -> None:
        if group_size < 2:
            raise UserError(
                f"`group_size` must be at least 2, since a lone completion has no baseline; got {group_size}."
            )
        if validation_group_size < 1:
            raise UserError(
                f"`validation_group_size` must be at least 1, or nothing is validated; got {validation_group_size}."
            )
        if isinstance(training, TransformersEngine) and training.top_p < 1:
            raise UserError(
                f"`training.top_p` must be 1, since the update scores tokens under the whole distribution and would be "
                f"biased; got {training.top_p}. Set it to 1, and lower `training.temperature` for surer samples."
            )
        starts.check(group_size)
        if not (training.forces_starts or isinstance(starts, FreeStarts)):
            raise UserError(
                f"`starts` must be FreeStarts, since {type(training).__name__} cannot begin completions with given "
                f"tokens; got {type(starts).__name__}. Use GroupEngine for other starts."
            )
        if chunk_prompts < 1:
            raise UserError(f"`chunk_prompts` must be at least 1, or nothing is sampled; got {chunk_prompts}.")
        self.group_size = group_size
        self.training = training
        self.validation = validation
        self.seed = seed
        self.validation_group_size = validation_group_size
        self.chunk_prompts = chunk_prompts
        self.starts = starts

    def check(self, grammar: Grammar) -> None:
        """Refuse engines that write other levels into a response than it is read by; warn where only one writes any.

        Args:
            grammar: What responses are read by.
        """
        telling = [engine for engine in (self.training, self.validation) if isinstance(engine, FedBackCertainty)]
        for engine in telling:
            if engine.grammar.levels != grammar.levels:
                raise UserError(
                    "`grammar.levels` of FedBackCertainty must be those that responses are read by, "
                    f"{grammar.levels}; got {engine.grammar.levels}."
                )
        if len(telling) == 1:
            logger.warning(
                "Of `sampling.training` and `sampling.validation` one is FedBackCertainty and the other is not: the "
                "responses that are validated are told of their readings, or not, unlike those that are learned from."
            )

    def training_plan(self, step: int) -> SamplingPlan:
        """How a batch is sampled at a step of training."""
        seed = draw_seed(self.seed, "train", str(step))
        return SamplingPlan(self.training, self.group_size, seed, self.starts)

    def validation_plan(self) -> SamplingPlan:
        """How a batch is sampled in validation: the same completions whatever the step."""
        return SamplingPlan(self.validation, self.validation_group_size, draw_seed(self.seed, "validation"))


def draw_seed(seed: int, *what: str) -> int:
    """A seed for one draw, the same on every machine and rank, so that a step can be replayed alone."""
    digest = hashlib.blake2b("\0".join((str(seed), *what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
