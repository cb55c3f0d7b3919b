"""Completions that begin with given tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from vlcal.policy import Frozen, GroupEngine, Policy, TransformersEngine
from vlcal.text import Grammar
from vlcal.types import PromptBatch, Rollouts

ENGINES = pytest.mark.parametrize("kind", [GroupEngine, TransformersEngine])
SEEDS = [5, 6, 7, 8]


@pytest.fixture
def policy(build: Callable[..., Policy], leaning: Callable[[Policy, list[int], float], Policy]) -> Policy:
    """A policy that likes to stop, so that completions end at different steps."""
    made = build(Frozen())
    return leaning(made, [made.tokenizer.eos_token_id], 4.0)


@pytest.fixture
def sample(policy: Policy, mixed: PromptBatch, grammar: Grammar) -> Callable[..., Rollouts]:
    encoded = policy.encode(mixed, grammar)

    def sampled(
        kind: type[TransformersEngine], starts: Sequence[Sequence[int]] | None = None, length: int = 10
    ) -> Rollouts:
        return kind(length).sample(policy, encoded, 2, SEEDS, starts)

    return sampled


def first_tokens(rollouts: Rollouts, policy: Policy, lengths: Sequence[int]) -> list[list[int]]:
    """As many tokens of each completion, but no end token."""
    rows = [row[kept].tolist() for row, kept in zip(rollouts.tokens, rollouts.mask, strict=True)]
    return [
        [token for token in row[:length] if token not in policy.end_tokens]
        for row, length in zip(rows, lengths, strict=True)
    ]


@ENGINES
def test_what_follows_a_start_is_what_follows_where_it_was_drawn(
    sample: Callable[..., Rollouts], policy: Policy, kind: type[TransformersEngine]
) -> None:
    free = sample(kind)
    starts = first_tokens(free, policy, [0, 1, 2, 3, 4, 5, 6, 0])
    assert len({len(start) for start in starts}) > 3

    forced = sample(kind, starts)

    assert torch.equal(forced.tokens, free.tokens)
    assert torch.equal(forced.mask, free.mask)
    assert forced.forced.sum(1).tolist() == [len(start) for start in starts]
    assert not (forced.forced & ~forced.mask).any()
    assert not forced.log_probs[forced.forced].any()
    torch.testing.assert_close(forced.log_probs[forced.chosen], free.log_probs[forced.chosen])


@ENGINES
def test_a_completion_begins_with_its_start_and_changes_no_other(
    sample: Callable[..., Rollouts], policy: Policy, kind: type[TransformersEngine]
) -> None:
    start = policy.tokenizer.encode("<think><vision>72", add_special_tokens=False)
    free, forced = sample(kind), sample(kind, [start if row == 3 else [] for row in range(8)])

    assert forced.tokens[3, : len(start)].tolist() == start
    assert forced.texts[3].startswith("<think><vision>72")
    others = [row for row in range(8) if row != 3]
    assert [forced.texts[row] for row in others] == [free.texts[row] for row in others]
    assert not forced.forced[others].any()


def test_both_engines_continue_a_start_alike(sample: Callable[..., Rollouts], policy: Policy) -> None:
    word = policy.tokenizer.encode("7 and 2", add_special_tokens=False)
    starts = [word[: row % 4] for row in range(8)]

    ours, theirs = sample(GroupEngine, starts), sample(TransformersEngine, starts)

    assert ours.texts == theirs.texts
    assert torch.equal(ours.forced[:, : theirs.forced.shape[1]], theirs.forced)


def test_without_a_start_nothing_is_forced(sample: Callable[..., Rollouts]) -> None:
    rollouts = sample(GroupEngine)

    assert not rollouts.forced.any()
    assert torch.equal(rollouts.chosen, rollouts.mask)


@ENGINES
@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ([[1]], r"`starts` must hold one start per completion, 8; got 1"),
        ([[], [5] * 10, *[[]] * 6], r"`starts\[1\]` must leave room below `max_new_tokens`, 10; got 10 tokens"),
    ],
)
def test_starts_that_do_not_fit_are_refused(
    sample: Callable[..., Rollouts], kind: type[TransformersEngine], starts: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sample(kind, starts)


@ENGINES
def test_a_start_behind_which_nothing_can_follow_is_refused(
    sample: Callable[..., Rollouts], policy: Policy, kind: type[TransformersEngine]
) -> None:
    for token in (policy.end_tokens[0], policy.placeholders[0]):
        with pytest.raises(ValueError, match=rf"`starts\[0\]` must hold neither end tokens .* got \[{token}\]"):
            sample(kind, [[token], *[[]] * 7])
