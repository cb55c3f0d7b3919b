"""Prompts without an image, or with a blank one, beside prompts about images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlcal.certainty import (
    CertaintyEstimator,
    ConstantCertainty,
    EntropyCertainty,
    KLCertainty,
    KLEntropyCertainty,
    PlattCertainty,
)
from vlcal.objectives import ExpectedScore, NoCorrection, NoPolicyObjective, NoReferenceKL
from vlcal.policy import LanguageModel, Policy, PolicySpec, RolloutEngine
from vlcal.rewards import AccuracyReward, VisualReward
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.learner import Learner, Update
from vlcal.training.measurement import with_evidence
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan
from vlcal.types import Experience, PromptBatch

Scenes = Callable[[int], PromptBatch]
Respond = Callable[..., list[str]]
Collect = Callable[[Policy, CertaintyEstimator, list[int]], Experience]
SEEN = [0, 2, 4]
TEXT, BLANK = 1, 3
EVERY = [*range(5)]
ESTIMATORS = [KLEntropyCertainty, KLCertainty, EntropyCertainty, ConstantCertainty, PlattCertainty]


@pytest.fixture
def prompts(scenes: Scenes) -> PromptBatch:
    """Five questions, the second without an image, the fourth about a white one."""
    found = scenes(5)
    images = list(found.images)
    images[TEXT], images[BLANK] = (), tuple(torch.ones_like(image) for image in images[BLANK])
    return found.with_images(tuple(images))


@pytest.fixture
def collect(
    make_pipeline: Callable[..., Pipeline],
    prompts: PromptBatch,
    replay: Callable[..., RolloutEngine],
    respond: Respond,
) -> Collect:
    """What a step learns from some of the five questions, two responses to each."""

    def collected(policy: Policy, certainty: CertaintyEstimator, rows: list[int]) -> Experience:
        chosen = prompts.select(rows)
        pipeline = make_pipeline(certainty=certainty)
        pipeline.rewards = {"accuracy": AccuracyReward(), "visual": VisualReward(weight=1.0)}
        plan = SamplingPlan(replay(respond(chosen)), 2, 5)
        chunked = ChunkedPrompts(policy, chosen, pipeline.reader.grammar)
        return pipeline.collect(policy, chunked, plan, NoCorrection())

    return collected


def test_blank_images_and_none_are_no_evidence(prompts: PromptBatch) -> None:
    assert with_evidence(prompts).tolist() == [True, False, True, False, True]
    mixed = prompts.images[BLANK] + prompts.images[0]
    assert with_evidence(prompts.select([BLANK]).with_images((mixed,))).all()


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_step_pays_and_teaches_the_same_beside_prompts_without_evidence(
    collect: Collect, frozen_policy: Policy, kind: Callable[[], CertaintyEstimator]
) -> None:
    def certainty() -> CertaintyEstimator:
        made = kind()
        if isinstance(made, PlattCertainty):
            known = torch.stack([torch.linspace(-4, 4, 80), (torch.arange(80) % 3 < 1).float()], 1)
            made.load_state_dict({"recent": known})
        return made

    alone, joined = (collect(frozen_policy, certainty(), rows) for rows in (SEEN, EVERY))
    theirs, every = alone.assessment, joined.assessment
    rows = torch.tensor(every.completions_of(SEEN))
    width = alone.advantages.shape[1]

    for field in ("response", "score"):
        found, expected = (getattr(one.certainty, field) for one in (every, theirs))
        torch.testing.assert_close(found[rows], expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(every.rewards.total[rows], theirs.rewards.total, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(joined.advantages[rows, :width], alone.advantages, rtol=1e-3, atol=1e-3)
    unseen = torch.tensor(every.completions_of([TEXT, BLANK]))
    assert every.certainty.response[unseen].isnan().all() and every.certainty.response[rows].isfinite().all()
    assert not every.rewards.terms["visual"][unseen].any()
    assert joined.advantages.isfinite().all()


def test_a_step_with_nothing_but_text_has_no_label_and_still_learns_from_its_answers(
    collect: Collect, frozen_policy: Policy
) -> None:
    experience = collect(frozen_policy, KLEntropyCertainty(), [TEXT, BLANK])

    assert experience.assessment.certainty.response.isnan().all()
    assert experience.advantages.isfinite().all() and experience.advantages.any()


def test_the_gradient_of_the_visual_confidence_is_that_of_the_prompts_with_evidence(
    collect: Collect, embedded: Path, prompts: PromptBatch, grammar: Grammar, make_pipeline: Callable[..., Pipeline]
) -> None:
    policy = PolicySpec(str(embedded), LanguageModel(), dtype="float32").build()
    visual_alone = ExpectedScore(calibration_weight=0.0, level_weight=0.0, visual_weight=1.0)
    update = Update(NoPolicyObjective(), visual_alone, NoReferenceKL(), token_budget=150)
    reader = make_pipeline().reader

    def gradient(rows: list[int]) -> Tensor:
        experience = collect(policy, KLEntropyCertainty(), rows)
        chunked = ChunkedPrompts(policy, prompts.select(rows), grammar)
        policy.zero_grad()
        for part in Learner(policy, reader, update, 1.0).passes(experience, chunked, list(range(len(rows)))):
            part.loss.backward()  # type: ignore[no-untyped-call]
        return torch.cat([weight.grad.flatten() for weight in policy.parameters() if weight.grad is not None])

    alone, joined = gradient(SEEN), gradient(EVERY)

    assert alone.norm() > 0
    assert (joined - alone).norm() < 1e-3 * alone.norm()
