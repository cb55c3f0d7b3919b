"""Tokens drawn from logits: the stream of a completion is its own, the distribution is the one it is recorded with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vlcal.policy import Continuations, Frozen, GroupEngine, Policy, TransformersEngine
from vlcal.policy.engines.draws import drawn, uniform_numbers
from vlcal.text import Grammar
from vlcal.training.sampling import draw_seed
from vlcal.types import PromptBatch, Rollouts

EITHER = pytest.mark.parametrize("kind", [TransformersEngine, GroupEngine])
BATCHES = ([1] * 12, [4] * 3, [12])


def sample(policy: Policy, prompts: PromptBatch, grammar: Grammar, engine: TransformersEngine, size: int) -> Rollouts:
    return engine.sample(
        policy, policy.encode(prompts, grammar), size, [draw_seed(3, "rollout", name) for name in prompts.ids]
    )


@EITHER
def test_batch_size_and_company_decide_no_completion(
    build: Callable[..., Policy],
    leaning: Callable[[Policy, list[int], float], Policy],
    scenes: Callable[[int], PromptBatch],
    grammar: Grammar,
    kind: type[TransformersEngine],
) -> None:
    policy, prompts = build(Frozen()), scenes(12)
    leaning(policy, [policy.tokenizer.eos_token_id], 4.0)  # so that completions end at different steps
    found = []
    for sizes in BATCHES:
        texts: list[str] = []
        for size in sizes:
            part = prompts.select(list(range(len(texts) // 2, len(texts) // 2 + size)))
            texts += sample(policy, part, grammar, kind(8), 2).texts
        found.append(texts)
    backwards = sample(policy, prompts.select(list(range(12))[::-1]), grammar, kind(8), 2).texts

    assert found[0] == found[1] == found[2]
    assert [text for row in range(12)[::-1] for text in backwards[2 * row : 2 * row + 2]] == found[0]
    assert len(set(found[0])) > 12  # prompts and members differ


@EITHER
def test_a_larger_group_and_a_longer_limit_keep_the_completions_of_a_smaller_one(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar, kind: type[TransformersEngine]
) -> None:
    small = sample(frozen_policy, mixed, grammar, kind(4), 2).tokens
    large = sample(frozen_policy, mixed, grammar, kind(8), 3).tokens

    assert torch.equal(large.view(4, 3, -1)[:, :2, :4], small.view(4, 2, -1))


def test_streams_of_prompts_and_members_differ() -> None:
    numbers = uniform_numbers([5, 6, 5], 2, 100)

    assert torch.equal(numbers[:2], numbers[4:])  # one seed, one stream
    assert len({tuple(row) for row in numbers.tolist()}) == 4
    assert abs(float(numbers.mean()) - 0.5) < 0.05


def test_top_p_samples_from_the_fewest_tokens_that_hold_the_share_and_records_that_distribution() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(1000, -1)
    uniform = torch.linspace(0, 1 - 1e-6, 1000, dtype=torch.float64)

    tokens, log_probs = drawn(logits, uniform, 1.0, 0.75)

    assert torch.bincount(tokens).tolist() == [625, 375]  # 0.5 and 0.3, of 0.8
    assert log_probs.exp().unique().tolist() == pytest.approx([0.375, 0.625])


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_token_of_no_probability_is_never_drawn(top_p: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, -1)

    tokens, log_probs = drawn(logits, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), 1.0, top_p)

    assert tokens.tolist() == [1, 3, 3]
    assert log_probs.exp().tolist() == pytest.approx([0.5] * 3)


def test_masses_of_a_large_vocabulary_are_added_without_losing_small_ones() -> None:
    # A head of half the mass, then 150,000 tokens that share the rest: behind .5, float32 loses 3e-6 of each hundred.
    logits = torch.cat([torch.zeros(1), torch.full((150_000,), -torch.tensor(150_000.0).log().item())])[None]
    uniform = torch.linspace(0.51, 0.99, 49, dtype=torch.float64)

    tokens, _ = drawn(logits.expand(49, -1), uniform, 1.0, 1.0)

    expected = (uniform - 0.5) * 2 * 150_000
    assert (tokens - expected).abs().max() < 3


@EITHER
def test_top_p_is_seen_in_the_gap_between_sampled_and_scored_log_probs(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar, kind: type[TransformersEngine]
) -> None:
    rollouts = sample(frozen_policy, mixed, grammar, kind(6, top_p=0.5), 2)

    with torch.no_grad():
        encoded = frozen_policy.encode(mixed, grammar)
        scored, _ = frozen_policy.score(Continuations.of(encoded, rollouts.tokens, rollouts.mask))
    gap = (rollouts.log_probs - scored)[rollouts.mask]

    assert (gap > -1e-4).all()
    assert gap.max() <= -torch.tensor(0.5).log() + 1e-4 and gap.mean() > 0.1  # -log(mass), at most -log(.5)


@EITHER
def test_a_head_that_gives_no_numbers_ends_the_sampling_in_one_line(
    build: Callable[..., Policy], mixed: PromptBatch, grammar: Grammar, kind: type[TransformersEngine]
) -> None:
    policy = build(Frozen(), dtype="float16")
    assert policy.layout
    policy.backbone.get_output_embeddings().weight.data.mul_(1e4)  # logits beyond 65,504

    with pytest.raises(ValueError, match="of sampled tokens must be finite.* in float16. Set `dtype`"):
        sample(policy, mixed, grammar, kind(6), 2)
