"""What `vlcal doctor` tries with the weights: some responses, and on a GPU one real step at its largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import lightning
import torch
from rich.console import Console
from torch.utils.data import DataLoader

from vlcal.errors import UserError
from vlcal.modules import ReinforcementModule
from vlcal.modules.reinforcement import WAYS_TO_THE_FORM
from vlcal.policy import EncodedPrompts, Policy, RolloutEngine, TransformersEngine
from vlcal.policy.engines.base import rollouts
from vlcal.types import Assessment, PromptBatch, Rollouts

GIB = 2**30
SHOWN = 80  # characters of a response that is not in the form


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
    _trainer().fit(module, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]


def measure(module: ReinforcementModule, longest: PromptBatch, prompts: int, console: Console) -> list[str]:
    """Measure the GPU memory of a real step on the longest prompt; a finding where it does not suffice."""
    if not torch.cuda.is_available():
        console.print("measured    nothing: there is no GPU here, and the memory above is an estimate")
        return []
    try:
        rehearse(module, longest, prompts)
    except torch.OutOfMemoryError as error:
        return [f"change      memory: a real step ran out of it: {error}"]
    held = torch.cuda.max_memory_reserved()
    console.print(f"measured    {held / GIB:.1f} GiB at the peak of a real step, without the CUDA context")
    return []


def form(module: ReinforcementModule, prompts: Sequence[PromptBatch], console: Console) -> list[str]:
    """Have the model answer some prompts as in training; a finding where no response keeps to the form.

    Args:
        module: Whose policy answers, once for each prompt.
        prompts: None where no weights are to be loaded.
        console: Where the share of well-formed responses is said.
    """
    if not prompts:
        console.print("form        not tried: --sample 8 loads the weights and counts the responses that keep to it")
        return []
    validation, module.sampling.validation = module.sampling.validation, module.sampling.training
    answered = _trainer().predict(module, DataLoader(list(prompts), batch_size=None))  # type: ignore[arg-type]
    module.sampling.validation = validation
    found: list[Assessment] = [each["assessment"] for each in answered or []]  # type: ignore[call-overload,index]
    parsed, cut, size = (
        sum(int(count) for count in counts)
        for counts in (
            (one.responses.well_formed.sum() for one in found),
            (one.rollouts.truncated.sum() for one in found),
            (len(one) for one in found),
        )
    )
    console.print(
        f"form        {parsed} of {size} responses keep to the form, {cut} reached `max_new_tokens`", soft_wrap=True
    )
    if parsed:
        return []
    text = found[0].rollouts.texts[0]
    return [
        f"change      form: none of {size} responses keeps to the form, so that nothing could be learned; the first "
        f"starts {text[:SHOWN]!r}. {WAYS_TO_THE_FORM}"
    ]


def _trainer() -> lightning.Trainer:
    return lightning.Trainer(
        devices=1,
        max_steps=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
