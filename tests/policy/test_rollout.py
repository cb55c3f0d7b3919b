"""Completions that a policy samples."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vlcal.policy import Continuations, Frozen, Policy, TransformersEngine
from vlcal.text import Grammar
from vlcal.text.spans import token_offsets
from vlcal.training.sampling import draw_seed
from vlcal.types import PromptBatch, Rollouts

Leaning = Callable[[Policy, list[int], float], Policy]


def sample(
    policy: Policy, prompts: PromptBatch, grammar: Grammar, seed: int = 3, engine: TransformersEngine | None = None
) -> Rollouts:
    seeds = [draw_seed(seed, name) for name in prompts.ids]
    return (engine or TransformersEngine(8)).sample(policy, policy.encode(prompts, grammar), 2, seeds)


def test_one_seed_gives_one_set_of_completions_and_another_seed_another(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar
) -> None:
    first, again, other = (sample(frozen_policy, mixed, grammar, seed) for seed in (3, 3, 4))

    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.log_probs, again.log_probs)
    assert first.texts == again.texts
    assert first.texts != other.texts
    assert len(set(first.texts)) == len(first.texts)


def test_sampling_leaves_the_global_generator_and_the_mode_of_the_policy_alone(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar
) -> None:
    before = torch.random.get_rng_state()
    settings = frozen_policy.backbone.generation_config

    sample(frozen_policy, mixed, grammar)

    assert torch.equal(torch.random.get_rng_state(), before)
    assert not frozen_policy.training
    assert frozen_policy.backbone.generation_config is settings


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@torch.no_grad()
def test_log_probs_at_sampling_equal_those_of_the_scoring_pass(
    build: Callable[..., Policy], leaning: Leaning, mixed: PromptBatch, grammar: Grammar, temperature: float
) -> None:
    policy = build(Frozen())
    leaning(policy, [policy.tokenizer.eos_token_id], 4.0)  # so that some rows end early
    engine = TransformersEngine(12, temperature)

    rollouts = sample(policy, mixed, grammar, engine=engine)

    encoded = policy.encode(mixed, grammar)
    scored, _ = policy.score(Continuations.of(encoded, rollouts.tokens, rollouts.mask), temperature)
    lengths = rollouts.mask.sum(1)
    assert len(set(lengths.tolist())) > 2
    torch.testing.assert_close(rollouts.log_probs, scored, atol=1e-4, rtol=0)
    assert (rollouts.log_probs[rollouts.mask] < 0).all()


def test_completions_are_padded_behind_their_end_and_cut_where_they_have_none(
    build: Callable[..., Policy], leaning: Leaning, mixed: PromptBatch, grammar: Grammar
) -> None:
    policy = build(Frozen())
    end = policy.tokenizer.eos_token_id
    leaning(policy, [end], 4.0)

    rollouts = sample(policy, mixed, grammar, engine=TransformersEngine(6))

    assert rollouts.truncated.any() and not rollouts.truncated.all()
    for tokens, mask, truncated, text in zip(
        rollouts.tokens, rollouts.mask, rollouts.truncated, rollouts.texts, strict=True
    ):
        written = tokens[mask].tolist()
        assert (written[-1] == end) is not bool(truncated)
        assert end not in written[:-1]
        assert set(tokens[~mask].tolist()) <= {policy.tokenizer.pad_token_id}
        assert text == token_offsets(policy.tokenizer, [token for token in written if token != end])[0]


def test_a_placeholder_is_never_sampled_even_by_a_head_that_wants_nothing_else(
    build: Callable[..., Policy], leaning: Leaning, mixed: PromptBatch, grammar: Grammar
) -> None:
    policy = build(Frozen())
    leaning(policy, policy.placeholders, 100.0)

    rollouts = sample(policy, mixed, grammar)

    assert not torch.isin(rollouts.tokens, torch.tensor(policy.placeholders)).any()
    assert rollouts.log_probs.isfinite().all()


def test_generation_settings_of_the_checkpoint_do_not_bend_the_distribution(
    build: Callable[..., Policy], mixed: PromptBatch, grammar: Grammar
) -> None:
    policy = build(Frozen())
    plain = sample(policy, mixed, grammar)
    own = policy.backbone.generation_config
    own.repetition_penalty, own.no_repeat_ngram_size, own.min_new_tokens = 5.0, 1, 8

    assert torch.equal(sample(policy, mixed, grammar).tokens, plain.tokens)


def test_a_prompt_without_images_is_answered_alone(frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar) -> None:
    assert len(sample(frozen_policy, mixed.select([2]), grammar).texts) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "`max_new_tokens` must be at least 1; got 0"),
        ({"temperature": 0.0}, "`temperature` must be above 0; got 0.0"),
        ({"top_p": 1.5}, "`top_p` must lie in .* got 1.5"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformersEngine(**settings)  # type: ignore[arg-type]
