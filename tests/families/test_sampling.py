"""Every family: completions that it samples."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vlcal.policy import Continuations, Frozen, GroupEngine, Policy, RolloutEngine, TransformersEngine
from vlcal.text import Grammar
from vlcal.types import PromptBatch, Rollouts


@pytest.fixture(params=[TransformersEngine, GroupEngine])
def engine(request: pytest.FixtureRequest) -> RolloutEngine:
    """Each engine in turn."""
    return request.param(max_new_tokens=6)


@torch.no_grad()
def sample(engine: RolloutEngine, policy: Policy, prompts: PromptBatch, grammar: Grammar) -> Rollouts:
    return engine.sample(policy, policy.encode(prompts, grammar), 2, [3, 4, 5, 6])


def test_a_placeholder_is_never_sampled_even_by_a_head_that_wants_nothing_else(
    build: Callable[..., Policy], engine: RolloutEngine, mixed: PromptBatch, grammar: Grammar
) -> None:
    policy = build(Frozen())
    old = policy.backbone.get_output_embeddings()
    head = nn.Linear(old.in_features, old.out_features)
    head.weight = nn.Parameter(old.weight.detach().clone())
    head.bias = nn.Parameter(torch.zeros(old.out_features).index_fill(0, torch.tensor(policy.placeholders), 100.0))
    policy.backbone.set_output_embeddings(head.requires_grad_(False))

    rollouts = sample(engine, policy, mixed, grammar)

    assert not torch.isin(rollouts.tokens, torch.tensor(policy.placeholders)).any()
    assert rollouts.log_probs.isfinite().all()


def test_tokens_are_sampled_from_the_distribution_that_they_are_scored_by(
    policy: Policy, engine: RolloutEngine, mixed: PromptBatch, grammar: Grammar
) -> None:
    rollouts = sample(engine, policy, mixed, grammar)

    with torch.no_grad():
        scored, _ = policy.score(Continuations.of(policy.encode(mixed, grammar), rollouts.tokens, rollouts.mask))

    torch.testing.assert_close(rollouts.log_probs, scored.masked_fill(~rollouts.mask, 0), atol=1e-4, rtol=0)
