"""What is learned from completions that begin with forced tokens: nothing on those tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlcal.objectives import ClippedSurrogate, NoReferenceKL, SampledConfidence, TruncatedImportance
from vlcal.policy import EncodedPrompts, LanguageModel, Policy, PolicySpec, RolloutEngine, TransformersEngine
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.learner import Learner, Update
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan
from vlcal.types import Experience, PromptBatch, Rollouts


class Begun(RolloutEngine):
    """Lets another engine continue one start, the same for every completion."""

    def __init__(self, engine: RolloutEngine, text: str) -> None:
        super().__init__(engine.temperature)
        self.engine = engine
        self.text = text

    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        begun = [policy.response_tokens(self.text)] * (len(encoded) * group_size)
        return self.engine.sample(policy, encoded, group_size, seeds, begun)


@pytest.fixture
def policy(embedded: Path) -> Policy:
    return PolicySpec(str(embedded), LanguageModel(), dtype="float32").build()


@pytest.fixture
def experience(
    policy: Policy, make_pipeline: Callable[..., Pipeline], grammar: Grammar, scenes: Callable[[int], PromptBatch]
) -> Experience:
    plan = SamplingPlan(Begun(TransformersEngine(12), "<think><vision>72"), 2, 5)
    chunked = ChunkedPrompts(policy, scenes(2), grammar)
    return make_pipeline().collect(policy, chunked, plan, TruncatedImportance())


def gradient(policy: Policy, pipeline: Pipeline, experience: Experience) -> Tensor:
    """The gradient of the policy objective alone."""
    update = Update(ClippedSurrogate(), SampledConfidence(), NoReferenceKL())
    prompts = ChunkedPrompts(policy, experience.assessment.prompts, pipeline.reader.grammar)
    policy.zero_grad()
    for part in Learner(policy, pipeline.reader, update, 1.0).passes(experience, prompts, [0, 1]):
        part.loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([weight.grad.flatten() for weight in policy.parameters() if weight.grad is not None])


def test_a_forced_token_has_no_advantage_whatever_its_completion_earned(policy: Policy, experience: Experience) -> None:
    rollouts = experience.assessment.rollouts
    assert rollouts.forced.any()
    assert not experience.advantages[rollouts.forced].any()
    assert (experience.assessment.evidence.log_probs[rollouts.forced] < 0).all()  # they are scored all the same


def test_a_forced_token_moves_no_weight(
    policy: Policy, experience: Experience, make_pipeline: Callable[..., Pipeline]
) -> None:
    rollouts = experience.assessment.rollouts
    blamed = replace(experience, advantages=torch.where(rollouts.forced, -1.0, 0.0))
    sampled = replace(rollouts, forced=torch.zeros_like(rollouts.forced))
    unforced = replace(blamed, assessment=replace(experience.assessment, rollouts=sampled))

    assert not gradient(policy, make_pipeline(), blamed).any()
    assert gradient(policy, make_pipeline(), unforced).norm() > 0.01
