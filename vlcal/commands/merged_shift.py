"""How far a policy over a 4-bit base is from the same adapters over the base as it was, measured on its own answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from lightning import LightningDataModule, LightningModule
from omegaconf import OmegaConf

from vlcal.errors import UserError
from vlcal.modules import ReinforcementModule
from vlcal.policy import Policy
from vlcal.probes import ExpectedLevel
from vlcal.probes.study import Study
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.limits import Limits
from vlcal.training.measurement import measure, with_evidence
from vlcal.types import PromptBatch

MOST_PROMPTS = 8  # measured on; each costs a sampled response


@dataclass(frozen=True)
class Shift:
    """What changes from one policy to another, on responses that the first one sampled.

    Args:
        prompts: Responses it is measured on, one per prompt.
        nats: Mean absolute difference of the log-probability of a token, in nats.
        visual: Mean absolute difference of the expected visual confidence; NaN where no response states one.
        reasoning: The same of the reasoning confidence.
    """

    prompts: int
    nats: float
    visual: float
    reasoning: float

    def __str__(self) -> str:
        confidences = f"expected confidences by {self.visual:.3f} (visual) and {self.reasoning:.3f} (reasoning)"
        stated = "no response states both confidences" if self.visual != self.visual else confidences
        return f"log-probabilities differ by {self.nats:.3f} nats a token on {self.prompts} prompts, {stated}"


def answered(config: Path, policy: Policy) -> Study:
    """A response of the policy to each of the first training prompts of a run.

    Raises:
        UserError: If the run learns from no responses, or its data cannot be read.
        ArgumentError: If its model or data cannot be made.
    """
    module = _part(config, "model", LightningModule)
    if not isinstance(module, ReinforcementModule):
        raise UserError(f"`model` must be a ReinforcementModule, which samples responses; got {type(module).__name__}.")
    prompts = _first_prompts(_part(config, "data", LightningDataModule))
    chunked = ChunkedPrompts(policy, prompts, module.pipeline.reader.grammar)
    plan, budget = module.sampling.validation_plan(), module.update.token_budget
    assessment = module.pipeline.assess(policy, chunked, plan, Limits(budget))
    return Study(policy, module.pipeline, plan.engine, assessment, chunked.encoded(chunked.all), plan.seed, budget)


def shift(trained: Study, merged: Policy) -> Shift:
    """What changes from the policy of a study to another one, on the responses of the study."""
    prompts, mask = trained.assessment.prompts, trained.assessment.rollouts.mask.cpu()
    there = replace(
        trained,
        policy=merged,
        assessment=trained.assessment.to(merged.device),
        encoded=merged.encode(prompts, trained.grammar),
    )
    (before, stated), (after, moved) = (_read(study) for study in (trained, there))
    visual, reasoning = ((moved[kind] - stated[kind]).cpu().abs().nanmean() for kind in ("visual", "reasoning"))
    return Shift(len(prompts), float((after - before)[mask].abs().mean()), float(visual), float(reasoning))


def _read(study: Study) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The log-probabilities of the tokens of all responses, and their expected confidences."""
    rollouts, vision = study.assessment.rollouts, study.assessment.responses.spans.vision
    evident, temperature = with_evidence(study.assessment.prompts), study.engine.temperature
    evidence = measure(study.policy, study.encoded, [], rollouts, vision, evident, temperature, Limits(study.budget))
    return evidence.log_probs.cpu(), dict(ExpectedLevel()(study))


def _first_prompts(data: LightningDataModule) -> PromptBatch:
    data.setup("fit")
    batch: PromptBatch = next(iter(data.train_dataloader()))
    return batch.select(list(range(min(MOST_PROMPTS, len(batch)))))


def _part(config: Path, key: str, kind: type[Any]) -> Any:
    """What a config describes under a key."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, key)
    described = OmegaConf.to_container(OmegaConf.select(OmegaConf.load(config), key), resolve=True)
    return parser.instantiate(parser.parse_object({key: described}))[key]
