"""Adapters over a 4-bit base, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    Gemma3Config,
    InternVLConfig,
    LlavaOnevisionConfig,
    PretrainedConfig,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
    SmolVLMConfig,
)
from transformers.quantizers.quantizers_utils import should_convert_module

from vlcal.policy import Continuations, Policy, PolicySpec, QLoRA
from vlcal.policy.layers import outside_decoder
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Build = Callable[..., Policy]


def quantised(policy: Policy) -> dict[str, nn.Module]:
    return {name: module for name, module in policy.backbone.named_modules() if isinstance(module, bnb.nn.Linear4bit)}


def resting(policy: Policy) -> dict[str, Tensor]:
    """Copies of all that does not learn, what belongs to the 4-bit weights included."""
    learning = {name for name, weight in policy.named_parameters() if weight.requires_grad}
    return {name: value.clone() for name, value in policy.state_dict().items() if name not in learning}


def test_all_linear_layers_of_the_language_model_are_quantised_and_nothing_else(build: Build) -> None:
    policy = build(QLoRA(2), dtype="bfloat16")

    layers = quantised(policy)

    assert len(layers) == 8 * 7  # eight layers: query, key, value, output, gate, up, down
    assert all(name.startswith("model.language_model.layers.") for name in layers)
    assert all(layer.weight.quant_state.nested and layer.weight.quant_type == "nf4" for layer in layers.values())


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_everything_else_keeps_the_dtype_of_the_policy_and_adapters_are_float32(build: Build, dtype: str) -> None:
    policy, expected = build(QLoRA(2), dtype=dtype), getattr(torch, dtype)
    weights = dict(policy.backbone.named_parameters())

    assert {weight.dtype for name, weight in weights.items() if "lora_" in name} == {torch.float32}
    others = {weight.dtype for name, weight in weights.items() if "lora_" not in name and weight.dtype != torch.uint8}
    assert others == {expected}  # norms too: they compute in float32 whatever they are held in
    assert {layer.compute_dtype for layer in quantised(policy).values()} == {expected}


@pytest.mark.parametrize(
    "config",
    [Gemma3Config, InternVLConfig, LlavaOnevisionConfig, Qwen2_5_VLConfig, Qwen3VLConfig, SmolVLMConfig],
)
def test_tower_projector_and_head_are_left_out_whatever_a_family_calls_them(config: type[PretrainedConfig]) -> None:
    shrunk = config()
    for part in (shrunk.get_text_config(), shrunk.vision_config):
        for name in ("num_hidden_layers", "depth"):
            if hasattr(part, name):
                setattr(part, name, 2)
    shrunk.get_text_config().layer_types = ["full_attention"] * 2
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(shrunk)
    skipped = outside_decoder(model)
    linear = {name: module for name, module in model.named_modules() if type(module) is nn.Linear}

    converted = {name for name in linear if should_convert_module(name, skipped)}

    inside = {id(module) for module in model.get_decoder().modules()}
    assert converted == {name for name, module in linear.items() if id(module) in inside}
    assert 0 < len(converted) < len(linear)


def test_nf4_adapters_learn_on_the_cpu_and_the_base_stays_bit_identical(
    build: Build, mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    tokens, mask = completions
    policy = build(QLoRA(8), dtype="bfloat16")
    before = resting(policy)
    learning = {name: weight for name, weight in policy.named_parameters() if weight.requires_grad}
    start = {name: weight.detach().clone() for name, weight in learning.items()}
    optimizer = torch.optim.AdamW(learning.values(), lr=1e-2)
    encoded = policy.encode(mixed, grammar)

    losses = []
    for _ in range(8):
        loss = -policy.score(Continuations.of(encoded, tokens, mask))[0][mask].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))

    assert losses[-1] < losses[0] - 0.5
    after = resting(policy)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(not torch.equal(start[name], weight) for name, weight in learning.items())


def test_gradients_pass_through_the_base_after_a_pass_without_them(
    build: Build,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On such a CPU bitsandbytes would repack the weights in the first pass for good.
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    tokens, mask = completions
    policy = build(QLoRA(2), dtype="float32")
    encoded = policy.encode(mixed, grammar)
    with torch.no_grad():  # as sampling does, in evaluation mode
        looked, _ = policy.score(Continuations.of(encoded, tokens, mask))

    scored, _ = policy.score(Continuations.of(encoded, tokens, mask))
    scored[mask].mean().backward()

    torch.testing.assert_close(scored.detach(), looked, atol=1e-5, rtol=0)
    # The second matrices start at zero, so that the first get no gradient through them yet.
    first_layer = [weight for name, weight in policy.named_parameters() if "layers.0." in name and "lora_B" in name]
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in first_layer)


def test_switching_off_gives_the_quantised_base(
    build: Build, mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    tokens, mask = completions
    policy = build(QLoRA(2), dtype="float32")
    encoded = policy.encode(mixed, grammar)
    with torch.no_grad():
        base, _ = policy.score(Continuations.of(encoded, tokens, mask))
        for weight in policy.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.1)
        with policy.without_adapters():
            off, _ = policy.score(Continuations.of(encoded, tokens, mask))

    torch.testing.assert_close(off, base, atol=1e-5, rtol=0)


def test_a_saved_adapter_is_the_same_over_the_quantised_base_again(
    build: Build,
    embedded: Path,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    tmp_path: Path,
) -> None:
    tokens, mask = completions
    policy = build(QLoRA(2), dtype="float32")
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.1)
        expected, _ = policy.score(Continuations.of(policy.encode(mixed, grammar), tokens, mask))
        policy.save(tmp_path / "saved")

        again = PolicySpec(str(embedded), QLoRA(adapter=tmp_path / "saved"), dtype="float32").build()

        found, _ = again.score(Continuations.of(again.encode(mixed, grammar), tokens, mask))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert AutoConfig.from_pretrained(embedded).to_dict().get("quantization_config") is None
