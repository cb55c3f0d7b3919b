"""Completions of whole groups, decoded over one shared prompt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlcal.policy import Continuations, Frozen, GroupEngine, Policy, TransformersEngine
from vlcal.policy.layouts.layout import Plain
from vlcal.text import Grammar
from vlcal.training.sampling import draw_seed
from vlcal.types import PromptBatch, Rollouts


@pytest.fixture
def policy(build: Callable[..., Policy], leaning: Callable[[Policy, list[int], float], Policy]) -> Policy:
    """A policy that likes to stop, so that completions end at different steps."""
    made = build(Frozen())
    return leaning(made, [made.tokenizer.eos_token_id], 4.0)


def sample(
    policy: Policy, prompts: PromptBatch, grammar: Grammar, engine: TransformersEngine, size: int = 3
) -> Rollouts:
    return engine.sample(policy, policy.encode(prompts, grammar), size, [draw_seed(5, name) for name in prompts.ids])


def test_the_likeliest_completions_are_those_of_generate(policy: Policy, mixed: PromptBatch, grammar: Grammar) -> None:
    cold = {"max_new_tokens": 12, "temperature": 1e-4}

    ours, theirs = (sample(policy, mixed, grammar, kind(**cold)) for kind in (GroupEngine, TransformersEngine))

    assert ours.texts == theirs.texts
    assert torch.equal(ours.tokens[ours.mask], theirs.tokens[theirs.mask])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@torch.no_grad()
def test_log_probs_at_sampling_equal_those_of_the_scoring_pass(
    policy: Policy, mixed: PromptBatch, grammar: Grammar, temperature: float
) -> None:
    rollouts = sample(policy, mixed, grammar, GroupEngine(12, temperature))

    scored, _ = policy.score(
        Continuations.of(policy.encode(mixed, grammar), rollouts.tokens, rollouts.mask), temperature
    )
    torch.testing.assert_close(rollouts.log_probs, scored, rtol=1e-4, atol=1e-4)
    assert len(set(rollouts.mask.sum(1).tolist())) > 3  # they ended at different steps
    assert torch.equal(rollouts.truncated, ~(rollouts.tokens == policy.tokenizer.eos_token_id).any(1))


def test_tokens_come_as_often_as_their_probability_says(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar
) -> None:
    drawn = sample(frozen_policy, mixed.select([0]), grammar, GroupEngine(1), size=4000).tokens[:, 0]
    encoded = frozen_policy.encode(mixed.select([0]), grammar)
    start = torch.zeros(1, 1, dtype=torch.long)
    with torch.no_grad():
        probs = frozen_policy.head(
            frozen_policy.hidden(Continuations.of(encoded, start, torch.ones_like(start, dtype=torch.bool)))[0]
        )[0]
    expected = 4000 * probs.softmax(-1)
    likely = expected > 20

    counts = torch.bincount(drawn, minlength=len(probs))

    chi_square = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_square < likely.sum() + 4 * (2 * likely.sum()) ** 0.5


def test_a_policy_without_packed_rows_samples_with_generate(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar
) -> None:
    packed = frozen_policy.layout
    try:
        frozen_policy.__dict__["layout"] = Plain()
        ours, theirs = (sample(frozen_policy, mixed, grammar, kind(6)) for kind in (GroupEngine, TransformersEngine))
    finally:
        frozen_policy.__dict__["layout"] = packed

    assert ours.texts == theirs.texts


@torch.no_grad()
def test_the_prompt_passes_the_model_once_per_group(policy: Policy, mixed: PromptBatch, grammar: Grammar) -> None:
    encoded = policy.encode(mixed, grammar)
    assert policy.layout
    passed: list[int] = []

    def count(module: object, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: object) -> None:
        passed.append(kwargs["inputs_embeds"].shape[:2].numel())

    hook = policy.backbone.get_decoder().register_forward_hook(count, with_kwargs=True)
    rollouts = GroupEngine(12).sample(policy, encoded, 3, [5, 6, 7, 8])
    hook.remove()

    assert passed[0] == 4 * encoded.length
    steps = rollouts.mask.sum(0)[:-1].tolist()  # completions that write on after each step
    assert all(paid <= 12 for paid in passed[1:])
    assert sum(passed[1:]) < 1.5 * sum(steps)  # ended ones are not paid for, but to fill up a prompt's row
