"""One real step at its largest, for `vlcal doctor` on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import lightning
import torch
from torch.utils.data import DataLoader

from vlcal.errors import UserError
from vlcal.modules import ReinforcementModule
from vlcal.policy import EncodedPrompts, Policy, RolloutEngine, TransformersEngine
from vlcal.policy.engines.base import rollouts
from vlcal.types import PromptBatch, Rollouts


class LongestCompletions(RolloutEngine):
    """Samples as another engine, then replaces its completions by ones of full length: the largest passes there can be.

    Args:
        engine: What samples.
    """

    def __init__(self, engine: TransformersEngine) -> None:
        super().__init__(engine.temperature)
        self.engine = engine

    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        """Completions of as many tokens as the engine allows."""
        sampled = self.engine.sample(policy, encoded, group_size, seeds, starts)
        letter = policy.tokenizer.encode("a", add_special_tokens=False)[0]
        tokens = torch.full((len(sampled), self.engine.max_new_tokens), letter, device=sampled.tokens.device)
        return rollouts(policy, tokens, torch.zeros(tokens.shape, device=tokens.device), group_size)


def rehearse(module: ReinforcementModule, longest: PromptBatch, prompts: int) -> None:
    """Take one step on the longest prompt, as often as there are prompts in a step. The module is of no use afterwards.

    Args:
        module: What learns.
        longest: The longest prompt.
        prompts: Prompts a step.
    """
    engine = module.sampling.training
    if not isinstance(engine, TransformersEngine):
        raise UserError(f"`training` must be an engine with `max_new_tokens`; got {type(engine).__name__}.")
    module.sampling.training = LongestCompletions(engine)
    names = tuple(f"{longest.ids[0]} {number}" for number in range(prompts))
    batch = replace(longest.select([0] * prompts), ids=names)
    trainer = lightning.Trainer(
        devices=1,
        max_steps=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]
