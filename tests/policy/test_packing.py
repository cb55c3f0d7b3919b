"""Groups in one row each, against every completion in a row of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vlcal.policy import Continuations, Frozen, LanguageModel, Policy
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.layouts.grouped import Grouped
from vlcal.policy.layouts.layout import Layout, Plain
from vlcal.policy.layouts.packing import EMPTY, Packed, Packing
from vlcal.text import Grammar
from vlcal.types import PromptBatch

EITHER = pytest.mark.parametrize(
    "packed", [lambda policy: Grouped(policy.headless), lambda _: Packed()], ids=["grouped", "one mask"]
)


def with_layout(policy: Policy, layout: Layout) -> Policy:
    policy.__dict__["layout"] = layout
    return policy


@pytest.fixture
def encoded(frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar) -> EncodedPrompts:
    return frozen_policy.encode(mixed, grammar)


def test_a_group_lies_behind_its_prompt_without_a_gap() -> None:
    encoded = EncodedPrompts(
        rows={"input_ids": torch.tensor([[0, 11, 12]]), "attention_mask": torch.tensor([[0, 1, 1]])},
        grids={},
        features=None,
        image_counts=(0,),
        block_counts=(0,),
    )
    mask = torch.tensor([[True, True], [True, False], [False, False]])

    packing = Packing.of(Continuations.of(encoded, torch.zeros_like(mask, dtype=torch.long), mask))

    assert packing.segments.tolist() == [[0, 0, 1, 1, 2]]
    assert packing.predictors.tolist() == [[1, 2], [1, 0], [0, 0]]  # the last prompt token predicts every first one
    laid_out = packing.laid_out(encoded.rows["input_ids"], torch.tensor([[21, 22], [31, 0], [0, 0]]), 99)
    assert laid_out.tolist() == [[11, 12, 21, 22, 31]]


def test_shorter_rows_end_in_empty_slots() -> None:
    encoded = EncodedPrompts(
        rows={"input_ids": torch.tensor([[7, 7], [0, 7]]), "attention_mask": torch.tensor([[1, 1], [0, 1]])},
        grids={},
        features=None,
        image_counts=(0, 0),
        block_counts=(0, 0),
    )

    tokens = torch.tensor([[7], [7]])
    packing = Packing.of(Continuations.of(encoded, tokens, torch.ones_like(tokens, dtype=torch.bool)))

    assert packing.segments.tolist() == [[0, 0, 1], [0, 1, EMPTY]]


@EITHER
def test_packed_rows_give_the_log_probs_the_entropy_and_the_gradient_of_plain_ones(
    build: Callable[..., Policy],
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    packed: Callable[[Policy], Layout],
) -> None:
    policy, (tokens, mask) = build(LanguageModel()), completions
    encoded = policy.encode(mixed, grammar)
    found = []
    for layout in (Plain(), packed(policy)):
        policy.zero_grad()
        log_probs, entropy = with_layout(policy, layout).score(Continuations.of(encoded, tokens, mask))
        (log_probs.sum() + 0.1 * entropy.sum()).backward()  # type: ignore[no-untyped-call]
        gradient = torch.cat([weight.grad.flatten() for weight in policy.parameters() if weight.grad is not None])
        found.append((log_probs.detach(), entropy.detach(), gradient))

    (plain, plain_entropy, plain_gradient), (shared, shared_entropy, shared_gradient) = found
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(shared_entropy, plain_entropy, rtol=1e-5, atol=2e-5)
    assert (shared_gradient - plain_gradient).norm() < 1e-5 * plain_gradient.norm()


@EITHER
@torch.no_grad()
def test_what_one_completion_says_changes_nothing_for_its_neighbour(
    frozen_policy: Policy,
    encoded: EncodedPrompts,
    completions: tuple[Tensor, Tensor],
    packed: Callable[[Policy], Layout],
) -> None:
    tokens, mask = completions
    other = tokens.clone()
    other[0::2] = tokens[0::2].flip(0)  # the first completion of every group says something else
    policy = with_layout(frozen_policy, packed(frozen_policy))

    before, after = (policy.score(Continuations.of(encoded, said, mask))[0] for said in (tokens, other))

    torch.testing.assert_close(after[1::2], before[1::2], rtol=0, atol=1e-6)
    assert not torch.allclose(after[0::2], before[0::2])


@EITHER
@torch.no_grad()
def test_a_long_group_is_cut_into_rows_that_repeat_the_prompt(
    frozen_policy: Policy,
    encoded: EncodedPrompts,
    completions: tuple[Tensor, Tensor],
    packed: Callable[[Policy], Layout],
) -> None:
    tokens, mask = completions
    policy = with_layout(frozen_policy, packed(frozen_policy))
    continuations = Continuations.of(encoded, tokens, mask)
    whole, _ = policy.score(continuations)

    for budget in (1, 30, 60, 10**6):
        parts = policy.micro_batches(continuations, budget)
        found = torch.zeros_like(whole)
        for part in parts:
            found[part.rows], _ = policy.score(part)
        torch.testing.assert_close(found, whole, rtol=1e-5, atol=2e-5)
        assert sorted(torch.cat([part.rows for part in parts]).tolist()) == list(range(8))
    assert len(policy.micro_batches(continuations, 1)) == 8
    assert len(policy.micro_batches(continuations, 10**6)) == 1


def test_rows_hold_no_more_than_the_budget_and_the_longest_come_first(
    frozen_policy: Policy, encoded: EncodedPrompts, completions: tuple[Tensor, Tensor]
) -> None:
    mask = completions[1]
    prompts = encoded.rows["attention_mask"].sum(1)

    parts = with_layout(frozen_policy, Packed()).micro_batches(Continuations.of(encoded, *completions), 64)

    sizes = []
    for part in parts:
        rows = dict.fromkeys(part.prompt_index.tolist(), 0)
        for row, prompt in zip(part.rows.tolist(), part.prompt_index.tolist(), strict=True):
            rows[prompt] += int(mask[row].sum())
        lengths = [int(prompts[part.prompts[prompt]]) + own for prompt, own in rows.items()]
        sizes.append(max(lengths))
        assert max(lengths) * len(lengths) <= 64
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("layout", "rows"), [(Plain(), [[0], [1], [2]]), (Packed(), [[0, 1], [2]])], ids=["plain", "packed"]
)
def test_completions_share_rows_as_the_layout_allows(layout: Layout, rows: list[list[int]]) -> None:
    assert layout.share(10, [5, 5, 5], 20) == rows
    assert Packed().share(10, [50], 20) == [[0]]  # alone, though it is too long


class Carrying(nn.Module):
    """A layer that hands something of every token on to the next, as recurrent ones do."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, *args: object, **kwargs: object) -> Tensor:
        after: Tensor = self.layer(hidden, *args, **kwargs)
        return after + 0.1 * pad(after[:, :-1], (0, 0, 1, 0))


class Refusing(nn.Module):
    """A layer that takes no mask of four dimensions."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None, **kwargs: object) -> Tensor:
        if attention_mask is not None and attention_mask.is_floating_point():
            raise ValueError("no additive masks here")
        after: Tensor = self.layer(hidden, attention_mask=attention_mask, **kwargs)
        return after


def test_a_model_that_takes_packed_rows_is_given_them(
    build: Callable[..., Policy], caplog: pytest.LogCaptureFixture
) -> None:
    policy = build(Frozen()).train()

    with caplog.at_level(logging.WARNING):
        assert isinstance(policy.layout, Grouped)
    assert not caplog.records
    assert policy.training  # the trial ran in evaluation mode


def test_a_policy_with_another_attention_is_packed_behind_one_mask(build: Callable[..., Policy]) -> None:
    policy = build(Frozen(), attention="eager")

    assert type(policy.layout) is Packed


def test_a_sliding_window_which_no_short_trial_can_show_means_plain_rows(
    build: Callable[..., Policy], caplog: pytest.LogCaptureFixture
) -> None:
    policy = build(Frozen())
    policy.headless.config.layer_types = ["sliding_attention", "full_attention"]

    assert isinstance(policy.layout, Plain)
    assert "sliding window" in caplog.text


@pytest.mark.parametrize(
    ("layer", "reason"), [(Carrying, "packed rows give other numbers"), (Refusing, "no additive masks here")]
)
def test_a_model_that_does_not_keeps_plain_ones_and_says_so_once(
    build: Callable[..., Policy],
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    caplog: pytest.LogCaptureFixture,
    layer: Callable[[nn.Module], nn.Module],
    reason: str,
) -> None:
    policy = build(Frozen())
    layers = policy.backbone.get_decoder().layers
    layers[2] = layer(layers[2])

    with caplog.at_level(logging.WARNING):
        encoded = policy.encode(mixed, grammar)
        policy.score(Continuations.of(encoded, *completions))
        policy.score(Continuations.of(encoded, *completions))

    assert isinstance(policy.layout, Plain)
    assert [reason in record.getMessage() for record in caplog.records] == [True]
