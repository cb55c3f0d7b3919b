"""Every family: what learns, what it is held close to, and what is on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vlcal.policy import Continuations, LanguageModel, LoRA, Policy
from vlcal.text import Grammar
from vlcal.types import PromptBatch


@torch.no_grad()
def disturb(policy: Policy) -> None:
    for weight in policy.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn_like(weight) * 0.1)


@torch.no_grad()
def scores(policy: Policy, prompts: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar) -> Tensor:
    return policy.score(Continuations.of(policy.encode(prompts, grammar), *completions))[0]


def test_adapters_sit_in_the_language_model_alone(build: Callable[..., Policy]) -> None:
    policy = build(LoRA(rank=4))
    language = {id(weight) for weight in policy.backbone.get_decoder().parameters()}
    adapters = {name: weight for name, weight in policy.backbone.named_parameters() if weight.requires_grad}

    assert adapters
    assert all("lora_" in name and id(weight) in language for name, weight in adapters.items())
    assert policy.vision_frozen


def test_disturbed_adapters_switched_off_are_the_base_to_the_last_bit(
    build: Callable[..., Policy],
    policy: Policy,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
) -> None:
    adapted = build(LoRA(rank=4))
    base = scores(policy, mixed, completions, grammar)
    disturb(adapted)

    moved = scores(adapted, mixed, completions, grammar)
    with adapted.without_adapters():
        held = scores(adapted, mixed, completions, grammar)

    assert (moved - base).abs().max() > 0.01
    assert torch.equal(held, base)


def test_a_saved_model_is_loaded_with_the_same_scores(
    build: Callable[..., Policy],
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    tmp_path: Path,
) -> None:
    learned = build(LanguageModel())
    disturb(learned)
    learned.save(tmp_path / "saved")

    again = build(path=tmp_path / "saved")

    torch.testing.assert_close(
        scores(again, mixed, completions, grammar), scores(learned, mixed, completions, grammar), atol=1e-5, rtol=0
    )


def test_saved_adapters_over_the_base_give_the_same_scores(
    build: Callable[..., Policy],
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    tmp_path: Path,
) -> None:
    learned = build(LoRA(rank=4))
    disturb(learned)
    learned.save(tmp_path / "saved")

    again = build(LoRA(rank=4, adapter=tmp_path / "saved"))

    torch.testing.assert_close(
        scores(again, mixed, completions, grammar), scores(learned, mixed, completions, grammar), atol=1e-5, rtol=0
    )
