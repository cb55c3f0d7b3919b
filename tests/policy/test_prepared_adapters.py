"""Adapters that are cast once for a context, beside the same adapters as they learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlcal.policy import Continuations, LoRA, Policy
from vlcal.policy.adapters import adapter_layers, prepared_adapters
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Build = Callable[..., Policy]


@torch.no_grad()
def disturb(policy: Policy) -> None:
    for weight in policy.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn_like(weight) * 0.1)


@pytest.mark.parametrize(("dtype", "apart"), [("float32", 1e-5), ("bfloat16", 0.05)])
@torch.no_grad()
def test_prepared_adapters_give_the_states_of_adapters_and_leave_them_as_they_were(
    build: Build, mixed: PromptBatch, grammar: Grammar, completions: tuple[Tensor, Tensor], dtype: str, apart: float
) -> None:
    policy = build(LoRA(3, alpha=4.0), dtype)
    fresh = policy.score(Continuations.of(policy.encode(mixed, grammar), *completions))[0]
    disturb(policy)
    encoded = policy.encode(mixed, grammar)
    before = policy.score(Continuations.of(encoded, *completions))[0]
    called: list[str] = []
    for layer in adapter_layers(policy.adapted):
        layer.lora_A["default"].register_forward_hook(lambda *_: called.append("A"))

    with prepared_adapters(policy.adapted, policy.headless.precision):
        prepared = policy.score(Continuations.of(encoded, *completions))[0]
        assert not called
    after = policy.score(Continuations.of(encoded, *completions))[0]

    assert called and torch.equal(after, before)
    torch.testing.assert_close(prepared, before, rtol=apart, atol=apart)
    assert (before - fresh).abs().max() > 20 * apart or dtype == "bfloat16"


@torch.no_grad()
def test_prepared_adapters_follow_what_is_switched_on(
    build: Build, tmp_path: Path, mixed: PromptBatch, grammar: Grammar, completions: tuple[Tensor, Tensor]
) -> None:
    earlier = build(LoRA(3, alpha=9.0))
    disturb(earlier)
    earlier.save(tmp_path)
    policy = build(LoRA(adapter=tmp_path))
    disturb(policy)
    asked = Continuations.of(policy.encode(mixed, grammar), *completions)

    def scored() -> Tensor:
        with prepared_adapters(policy.adapted, torch.float32):
            return policy.score(asked)[0]

    with policy.without_adapters():
        torch.testing.assert_close(scored(), policy.score(asked)[0], rtol=1e-5, atol=1e-5)
        started = scored()
    with policy.adapted.disable_adapter():
        assert torch.equal(scored(), policy.score(asked)[0])
    assert (scored() - started).abs().max() > 0.1
