"""Every family: packed rows give what plain ones give, or the family is not packed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.families.test_adaptation import disturb
from vlcal.functional.vocabulary import token_statistics
from vlcal.policy import Continuations, LoRA, Policy, PolicySpec
from vlcal.policy.layouts.grouped import Grouped
from vlcal.policy.layouts.layout import Layout, Plain
from vlcal.policy.layouts.packing import Packed
from vlcal.text import Grammar
from vlcal.types import PromptBatch

LAYOUTS = {
    "qwen2_5_vl": Grouped,
    "qwen3_vl": Grouped,
    "qwen3_5": Plain,  # a recurrent layer carries one completion over into the next
    "internvl3": Grouped,
    "internvl3_5": Grouped,
    "gemma3": Plain,  # images look at themselves both ways, which the mask of a packed row does not say
    "smolvlm": Grouped,
    "llava_onevision": Grouped,
}


def made(layout: type[Layout], policy: Policy) -> Layout:
    return Grouped(policy.headless) if layout is Grouped else layout()


def statistics(
    layout: Layout, policy: Policy, prompts: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the completions, laid out so."""
    tokens, mask = completions
    hidden = policy.hidden(Continuations.of(policy.encode(prompts, grammar), tokens, mask), layout)
    return token_statistics(hidden, policy.head, tokens, mask, 1.0)


def gradient(
    layout: Layout, policy: Policy, prompts: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> Tensor:
    """Of a loss that weighs every token differently, over all that learns."""
    log_probs, entropy = statistics(layout, policy, prompts, completions, grammar)
    weights = torch.linspace(-1, 2, log_probs.numel()).view_as(log_probs)
    learning = [weight for weight in policy.parameters() if weight.requires_grad]
    loss = ((log_probs + 0.1 * entropy) * weights)[completions[1]].sum()
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, learning)])


def test_the_layout_is_found_by_trying_and_a_fallback_is_said_once(
    build: Callable[..., Policy], family: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = build()

    with caplog.at_level(logging.WARNING, logger="vlcal"):
        layouts = [policy.layout, policy.layout]

    assert [type(layout) for layout in layouts] == [LAYOUTS[family]] * 2
    said = [record for record in caplog.records if "one by one" in record.getMessage()]
    assert len(said) == (LAYOUTS[family] is Plain)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_in_bfloat16_every_family_gets_the_same_layout(checkpoint: Path, family: str, device: str) -> None:
    policy = PolicySpec(str(checkpoint), dtype="bfloat16").build().to(device)

    assert type(policy.layout) is LAYOUTS[family]  # packed rows are as near to float32 as plain ones


@pytest.mark.parametrize("kind", [Grouped, Packed])
def test_log_probs_and_entropies_of_packed_rows_are_those_of_plain_ones_where_the_family_is_packed(
    policy: Policy,
    family: str,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    kind: type[Layout],
) -> None:
    with torch.no_grad():
        packed, plain = (
            statistics(made(layout, policy), policy, mixed, completions, grammar) for layout in (kind, Plain)
        )

    for found, expected in zip(packed, plain, strict=True):
        error = (found - expected)[completions[1]].abs().max()
        assert error < 1e-4 if LAYOUTS[family] is Grouped else error > 0.01


def test_gradients_of_the_chosen_layout_are_those_of_plain_rows(
    build: Callable[..., Policy],
    family: str,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
) -> None:
    policy = build(LoRA(rank=4))
    disturb(policy)  # fresh adapters pass no gradient to half of their weights

    chosen, plain = (
        gradient(made(layout, policy), policy, mixed, completions, grammar) for layout in (LAYOUTS[family], Plain)
    )

    assert plain.norm() > 1
    assert (chosen - plain).norm() / plain.norm() < 1e-4
