"""Log-probabilities of what was written, at temperature 1 and given perturbed images."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vlcal.perturbations import GaussianNoise, NoPerturbation
from vlcal.policy import Continuations, GroupEngine, Policy, RolloutEngine
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan
from vlcal.types import PromptBatch

Scenes = Callable[[int], PromptBatch]


@torch.no_grad()
def test_log_probs_at_temperature_1_do_not_depend_on_the_sampling_temperature(
    make_pipeline: Callable[..., Pipeline], frozen_policy: Policy, grammar: Grammar, scenes: Scenes
) -> None:
    prompts = scenes(2)
    plan = SamplingPlan(GroupEngine(8, temperature=0.5), 2, 5)

    assessment = make_pipeline().assess(frozen_policy, ChunkedPrompts(frozen_policy, prompts, grammar), plan)

    rollouts, evidence = assessment.rollouts, assessment.evidence
    completions = Continuations.of(frozen_policy.encode(prompts, grammar), rollouts.tokens, rollouts.mask)
    for measured, temperature in ((evidence.plain_log_probs, 1.0), (evidence.log_probs, 0.5)):
        torch.testing.assert_close(measured, frozen_policy.score(completions, temperature)[0], rtol=0, atol=1e-4)
    assert (evidence.plain_log_probs - evidence.log_probs).abs().max() > 0.1


def test_a_perturbed_image_gives_vision_tokens_other_log_probs_and_an_unperturbed_one_the_same(
    make_pipeline: Callable[..., Pipeline],
    frozen_policy: Policy,
    grammar: Grammar,
    scenes: Scenes,
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
) -> None:
    prompts = scenes(2)
    chunked, plan = ChunkedPrompts(frozen_policy, prompts, grammar), SamplingPlan(replay(respond(prompts)), 2, 5)

    same, noisy = (
        make_pipeline(perturbation=perturbation, copies=2).assess(frozen_policy, chunked, plan)
        for perturbation in (NoPerturbation(), GaussianNoise(1.0))
    )

    vision = same.responses.spans.vision
    assert vision.any()
    for assessment, differs in ((same, False), (noisy, True)):
        evidence = assessment.evidence
        gap = (evidence.plain_log_probs - evidence.perturbed_log_probs)[vision].abs().max()
        assert bool(gap > 1e-3) is differs
        assert not evidence.perturbed_log_probs[~vision].any()
