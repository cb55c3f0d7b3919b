"""The loss of an update, in one pass or in many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlcal.learner import Learner
from vlcal.objectives import (
    ClippedSurrogate,
    ExpectedScore,
    LossAggregation,
    SequenceMeanTokenMean,
    SequenceMeanTokenSumNorm,
    TokenMean,
)
from vlcal.pipeline import Pipeline
from vlcal.policy import Adaptation, FrozenCopy, LanguageModel, PolicySpec, RolloutEngine, WholeModel
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Losses = Callable[[int], tuple[Tensor, Tensor, Counter[str]]]


@pytest.fixture
def losses_of(
    embedded: Path,
    grammar: Grammar,
    make_pipeline: Callable[..., Pipeline],
    scenes: Callable[[int], PromptBatch],
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
) -> Callable[..., Losses]:
    """The loss, its gradient and its figures under a token budget, of a policy that has moved from its reference."""

    def made(adaptation: Adaptation, aggregation: LossAggregation, anchor: float) -> Losses:
        policy = PolicySpec(str(embedded), adaptation, dtype="float32").build()
        reference = FrozenCopy(anchor)
        if anchor:
            reference.attach(policy)
        prompts, pipeline = scenes(3), make_pipeline()
        texts = respond(prompts)
        texts[3] = "no confidence at all"  # so that responses, tokens and completions are counted differently
        encoded = policy.encode(prompts, grammar)
        with torch.no_grad():
            experience = pipeline.credit(pipeline.judge(policy, prompts, encoded, replay(texts), 2, 0))
            for weight in policy.backbone.get_decoder().parameters():
                weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        experience = replace(experience, advantages=torch.randn(experience.advantages.shape))

        def losses(budget: int) -> tuple[Tensor, Tensor, Counter[str]]:
            objective = ClippedSurrogate(kl_coefficient=0.0, aggregation=aggregation)
            learner = Learner(policy, objective, ExpectedScore(), reference, grammar, 1.0, budget)
            policy.zero_grad()
            total, figures = torch.zeros(()), Counter[str]()
            for update in learner.passes(experience, encoded):
                update.loss.backward()  # type: ignore[no-untyped-call]
                total += update.loss.detach()
                figures.update(update.stats)  # type: ignore[arg-type]
            grads = [weight.grad.flatten() for weight in policy.parameters() if weight.grad is not None]
            return total, torch.cat(grads), figures

        return losses

    return made


@pytest.mark.parametrize(
    "aggregation",
    [TokenMean(), SequenceMeanTokenMean(), SequenceMeanTokenSumNorm(40)],
    ids=["token", "sequence", "sum"],
)
def test_many_passes_give_the_loss_the_gradient_and_the_figures_of_one(
    losses_of: Callable[..., Losses], aggregation: LossAggregation
) -> None:
    losses = losses_of(LanguageModel(), aggregation, 2.0)

    whole, gradient, figures = losses(10**6)
    for budget in (1, 150):
        total, accumulated, added = losses(budget)
        torch.testing.assert_close(total, whole, rtol=1e-4, atol=1e-6)
        assert (accumulated - gradient).norm() < 1e-4 * gradient.norm()
        for name in ("policy_loss", "expected_calibration", "level_missed", "reference_divergence"):
            assert added[name] == pytest.approx(figures[name], rel=1e-3, abs=1e-5)


def test_a_vision_tower_that_learns_is_given_its_gradient_in_every_pass(losses_of: Callable[..., Losses]) -> None:
    losses = losses_of(WholeModel(), TokenMean(), 0.0)

    _, gradient, _ = losses(10**6)
    _, accumulated, _ = losses(150)

    assert (accumulated - gradient).norm() < 1e-4 * gradient.norm()
