"""The loss of an update, in one pass or in many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlcal.objectives import (
    ClippedSurrogate,
    ExactReferenceKL,
    ExpectedScore,
    LossAggregation,
    NoCorrection,
    NoReferenceKL,
    ReferenceKL,
    SampledReferenceKL,
    SequenceMeanTokenMean,
    SequenceMeanTokenSumNorm,
    TokenMean,
)
from vlcal.policy import Adaptation, FrozenCopy, LanguageModel, PolicySpec, RolloutEngine, WholeModel
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.learner import Learner, Update
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan
from vlcal.types import PromptBatch

Losses = Callable[..., tuple[Tensor, Tensor, Counter[str]]]


@pytest.fixture
def losses_of(
    embedded: Path,
    grammar: Grammar,
    make_pipeline: Callable[..., Pipeline],
    scenes: Callable[[int], PromptBatch],
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
) -> Callable[..., Losses]:
    """The loss, its gradient and its figures under a budget and in chunks, of a policy that moved away."""

    def made(adaptation: Adaptation, aggregation: LossAggregation, reference_kl: ReferenceKL) -> Losses:
        policy = PolicySpec(str(embedded), adaptation, dtype="float32").build()
        reference = FrozenCopy()
        if reference_kl.needs_reference:
            reference.attach(policy)
        prompts, pipeline = scenes(3), make_pipeline()
        texts = respond(prompts)
        texts[3] = "no confidence at all"  # so that responses, tokens and completions are counted differently
        chunked = ChunkedPrompts(policy, prompts, grammar)
        with torch.no_grad():
            plan = SamplingPlan(replay(texts), 2, 0)
            experience = pipeline.collect(policy, chunked, plan, NoCorrection())
            for weight in policy.backbone.get_decoder().parameters():
                weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        experience = replace(experience, advantages=torch.randn(experience.advantages.shape))

        def losses(budget: int, chunk: int = 3) -> tuple[Tensor, Tensor, Counter[str]]:
            objective = ClippedSurrogate(aggregation=aggregation)
            update = Update(objective, ExpectedScore(), reference_kl, reference, token_budget=budget)
            learner = Learner(policy, pipeline.reader, update, 1.0)
            policy.zero_grad()
            total, figures = torch.zeros(()), Counter[str]()
            for part in learner.passes(experience, ChunkedPrompts(policy, prompts, grammar, chunk), [0, 1, 2]):
                part.loss.backward()  # type: ignore[no-untyped-call]
                total += part.loss.detach()
                figures.update(part.stats)  # type: ignore[arg-type]
            grads = [weight.grad.flatten() for weight in policy.parameters() if weight.grad is not None]
            return total, torch.cat(grads), figures

        return losses

    return made


@pytest.mark.parametrize(
    ("aggregation", "reference_kl"),
    [
        (TokenMean(), ExactReferenceKL(2.0)),
        (SequenceMeanTokenMean(), SampledReferenceKL(2.0, SequenceMeanTokenMean())),
        (SequenceMeanTokenSumNorm(40), NoReferenceKL()),
    ],
    ids=["token", "sequence", "sum"],
)
def test_many_passes_give_the_loss_the_gradient_and_the_figures_of_one(
    losses_of: Callable[..., Losses], aggregation: LossAggregation, reference_kl: ReferenceKL
) -> None:
    losses = losses_of(LanguageModel(), aggregation, reference_kl)

    whole, gradient, figures = losses(10**6)
    for budget, chunk in ((1, 3), (150, 3), (10**6, 2)):
        total, accumulated, added = losses(budget, chunk)
        torch.testing.assert_close(total, whole, rtol=1e-4, atol=1e-6)
        assert (accumulated - gradient).norm() < 1e-4 * gradient.norm()
        assert added.keys() == figures.keys() and ("reference_kl" in added) is reference_kl.needs_reference
        for name in figures.keys() & {"policy_loss", "expected_calibration", "level_missed", "reference_kl"}:
            assert added[name] == pytest.approx(figures[name], rel=1e-3, abs=1e-5)


def test_a_vision_tower_that_learns_is_given_its_gradient_in_every_pass(losses_of: Callable[..., Losses]) -> None:
    losses = losses_of(WholeModel(), TokenMean(), NoReferenceKL())

    _, gradient, _ = losses(10**6)

    for budget, chunk in ((150, 3), (10**6, 1)):
        _, accumulated, _ = losses(budget, chunk)
        assert (accumulated - gradient).norm() < 1e-4 * gradient.norm()
