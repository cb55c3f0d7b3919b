"""Which layers get adapters, what they are held in, and going on from an existing one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import EvaConfig, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText

from vlcal.policy import (
    Adaptation,
    AdapterOff,
    Continuations,
    Frozen,
    LanguageModel,
    LoRA,
    Policy,
    PolicySpec,
    WholeModel,
)
from vlcal.policy.layers import EveryLayer, LanguageAndProjectorLayers
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Build = Callable[..., Policy]


@torch.no_grad()
def disturb(policy: Policy) -> None:
    for weight in policy.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn_like(weight) * 0.1)


def learning(policy: Policy) -> set[str]:
    return {name for name, weight in policy.backbone.named_parameters() if weight.requires_grad}


@pytest.fixture
def earlier(build: Build, tmp_path: Path) -> Path:
    """The folder of an adapter of rank 3 that an earlier run learned."""
    policy = build(LoRA(3, alpha=9.0))
    disturb(policy)
    policy.save(tmp_path / "earlier")
    return tmp_path / "earlier"


def made_by_peft(base: Path, initialisation: str, start: Path) -> PeftModel:
    """An adapter that peft initialised and something trained a little; how it started is saved."""
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    layers = r".*language_model.*(q_proj|up_proj)"
    own = {"eva_config": EvaConfig()} if initialisation == "eva" else {}
    config = LoraConfig(r=4, lora_alpha=8, target_modules=layers, init_lora_weights=initialisation, **own)
    adapted = get_peft_model(model, config)
    config.init_lora_weights = True  # as peft asks for of the adapter that a conversion starts from
    adapted.save_pretrained(str(start), save_embedding_layers=False)
    config.init_lora_weights = initialisation
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.add_(torch.randn_like(weight) * 0.02)
    return adapted.eval()


def test_adapters_reach_the_projector_and_the_tower_on_request(build: Build) -> None:
    projector, every = build(LoRA(2, layers=LanguageAndProjectorLayers())), build(LoRA(2, layers=EveryLayer()))

    outside = {name for name in learning(projector) if "language_model" not in name}

    # Two matrices for each of two layers in the last merger and in the one of the deep features.
    assert len(outside) == 2 * 2 * 2 and all("merger" in name for name in outside)
    blocks = {name for name in learning(every) if "visual.blocks" in name}
    assert len(blocks) == 3 * 4 * 2  # three blocks: qkv, projection, two of the MLP
    assert learning(every) - blocks == learning(projector)
    assert not projector.vision_frozen and not every.vision_frozen


def test_adapters_on_the_tower_get_a_gradient_through_the_features(
    build: Build, mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    policy = build(LoRA(2, layers=EveryLayer()))

    policy.score(Continuations.of(policy.encode(mixed, grammar), *completions))[0].sum().backward()

    assert all(weight.grad is not None for weight in policy.parameters() if weight.requires_grad)


def test_adapters_are_held_in_float32_and_multiply_in_the_dtype_of_the_model(
    build: Build, mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    policy = build(LoRA(2), dtype="bfloat16")
    assert policy.layout  # whose trial computes in float32 too
    seen = set()
    for name, module in policy.named_modules():
        if name.endswith("lora_A.default"):
            module.register_forward_hook(lambda _, inputs, output: seen.update({inputs[0].dtype, output.dtype}))

    policy.score(Continuations.of(policy.encode(mixed, grammar), *completions))[0].sum().backward()

    adapters = [weight for weight in policy.parameters() if weight.requires_grad]
    assert {weight.dtype for weight in adapters} == {weight.grad.dtype for weight in adapters} == {torch.float32}
    assert seen == {torch.bfloat16}


def test_an_update_too_small_for_bfloat16_is_kept(build: Build) -> None:
    policy = build(LoRA(2), dtype="bfloat16")
    weight = next(weight for weight in policy.parameters() if weight.requires_grad)
    with torch.no_grad():
        weight.fill_(1.0).add_(2**-10)

    assert torch.equal(weight, torch.full_like(weight, 1 + 2**-10))
    assert (1 + torch.tensor(2**-10, dtype=torch.bfloat16)) == 1


def test_going_on_from_an_adapter_starts_where_it_ended_and_keeps_that_as_the_reference(
    build: Build, earlier: Path, mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    tokens, mask = completions
    merged = PolicySpec(str(earlier), Frozen(), dtype="float32").build()
    policy, reference = build(LoRA(adapter=earlier)), AdapterOff()
    encoded = policy.encode(mixed, grammar)
    with torch.no_grad():
        before, _ = merged.score(Continuations.of(encoded, tokens, mask))
        start, _ = policy.score(Continuations.of(encoded, tokens, mask))
    names = learning(policy)

    reference.attach(policy)
    disturb(policy)
    with reference.model(policy) as original, torch.no_grad():
        held, _ = original.score(Continuations.of(encoded, tokens, mask), 1.0)

    torch.testing.assert_close(start, before, atol=1e-5, rtol=0)
    torch.testing.assert_close(held, before, atol=1e-5, rtol=0)
    with torch.no_grad():  # and what learned is on again
        assert (policy.score(Continuations.of(encoded, tokens, mask))[0] - before).abs().max() > 0.1
    assert learning(policy) == names and all(".default." in name for name in names)


def test_an_existing_adapter_brings_its_rank_and_learns_on_the_chosen_layers_alone(
    build: Build, tmp_path: Path
) -> None:
    whole = build(LoRA(3, layers=EveryLayer()))
    disturb(whole)
    whole.save(tmp_path / "whole")

    policy = build(LoRA(rank=16, adapter=tmp_path / "whole"))

    assert policy.vision_frozen
    assert all("language_model" in name for name in learning(policy))
    shapes = {weight.shape[0] for name, weight in policy.named_parameters() if "lora_A" in name}
    assert shapes == {3}
    with policy.without_adapters():  # peft would let all of it learn again
        assert not learning(policy)
    assert all("language_model" in name for name in learning(policy))


def test_only_the_adapter_that_learned_is_saved(build: Build, earlier: Path, tmp_path: Path) -> None:
    policy = build(LoRA(adapter=earlier))
    disturb(policy)
    policy.save(tmp_path / "later")

    saved = load_file(tmp_path / "later" / "adapter_model.safetensors")

    assert saved.keys() == load_file(earlier / "adapter_model.safetensors").keys()
    assert not [path for path in (tmp_path / "later").iterdir() if path.is_dir()]
    weight = dict(policy.adapted.named_parameters())
    assert all(torch.equal(value, weight[name.replace(".weight", ".default.weight")]) for name, value in saved.items())


def test_dropout_acts_in_training_mode_and_in_no_pass_of_the_reference(
    build: Build, earlier: Path, mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    tokens, mask = completions
    policy, reference = build(LoRA(dropout=0.5, adapter=earlier)), AdapterOff()
    encoded = policy.encode(mixed, grammar)
    with torch.no_grad():
        plain, _ = build(LoRA(adapter=earlier)).score(Continuations.of(encoded, tokens, mask))
        scored, _ = policy.score(Continuations.of(encoded, tokens, mask))
        policy.train()
        dropped, _ = policy.score(Continuations.of(encoded, tokens, mask))

    with reference.model(policy) as original, torch.no_grad():
        held, _ = original.score(Continuations.of(encoded, tokens, mask), 1.0)

    torch.testing.assert_close(scored, plain, atol=1e-5, rtol=0)
    assert (dropped - plain).abs().max() > 0.01
    torch.testing.assert_close(held, plain, atol=1e-5, rtol=0)
    assert policy.training and all(module.training for module in policy.adapted.modules())


def test_a_reference_without_adapters_that_change_the_image_features_is_refused(build: Build) -> None:
    with pytest.raises(ValueError, match="`reference` AdapterOff shares the image features .* Use LanguageLayers"):
        AdapterOff().attach(build(LoRA(2, layers=EveryLayer())))


def test_a_folder_without_adapter_is_refused(build: Build, embedded: Path) -> None:
    with pytest.raises(ValueError, match="`adapter` must be a folder with adapter_config.json"):
        build(LoRA(adapter=embedded))


@pytest.mark.parametrize(
    "change",
    [
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"alora_invocation_tokens": [1, 2]},
        {"layer_replication": [[0, 4], [2, 6]]},
        {"trainable_token_indices": [1]},
    ],
)
def test_an_adapter_that_is_more_than_lora_is_refused(build: Build, earlier: Path, change: dict[str, object]) -> None:
    settings = json.loads((earlier / "adapter_config.json").read_text())
    (earlier / "adapter_config.json").write_text(json.dumps({**settings, **change}))

    with pytest.raises(ValueError, match=f"`adapter` must be plain LoRA, .* has {next(iter(change))}"):
        build(LoRA(adapter=earlier))


@pytest.mark.filterwarnings("ignore:.* changes the base weights of the model", "ignore:lora with eva")  # in peft
@pytest.mark.parametrize("initialisation", ["eva", "pissa", "pissa_niter_2", "olora"])
def test_an_adapter_of_peft_gives_the_numbers_of_peft_or_is_refused(
    build: Build,
    embedded: Path,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    tmp_path: Path,
    initialisation: str,
) -> None:
    processor = PolicySpec(str(embedded)).processor()
    trained = made_by_peft(embedded, initialisation, tmp_path / "start")
    trained.save_pretrained(str(tmp_path / "trained"), save_embedding_layers=False)
    processor.save_pretrained(tmp_path / "trained")
    own = Policy(trained, trained.get_base_model(), processor)
    folder = tmp_path / "trained"
    if initialisation in ("pissa", "pissa_niter_2", "olora"):
        refusal = f"must leave the weights of its base as they are; its `init_lora_weights` is '{initialisation}'"
        with pytest.raises(ValueError, match=f"`adapter` .*trained {refusal}, .* path_initial_model_for_weight_conv"):
            build(LoRA(adapter=folder))
        with pytest.raises(ValueError, match=f"the adapter at `path` {refusal}"):
            PolicySpec(str(folder), Frozen(), dtype="float32").build()
        folder = tmp_path / "converted"  # the way out
        trained.save_pretrained(
            str(folder), path_initial_model_for_weight_conversion=str(tmp_path / "start"), save_embedding_layers=False
        )

    loaded = build(LoRA(adapter=folder))

    with torch.no_grad():
        encoded = loaded.encode(mixed, grammar)
        found, expected = (each.score(Continuations.of(encoded, *completions))[0] for each in (loaded, own))
        base, _ = build(Frozen()).score(Continuations.of(encoded, *completions))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (base - expected).abs().max() > 0.05


@pytest.mark.parametrize("change", [{"r": 5}, {"target_modules": ["model.language_model.layers.0.mlp.up_proj"]}])
def test_an_adapter_of_another_model_is_refused(build: Build, earlier: Path, change: dict[str, object]) -> None:
    settings = json.loads((earlier / "adapter_config.json").read_text())
    (earlier / "adapter_config.json").write_text(json.dumps({**settings, **change}))

    with pytest.raises(ValueError, match="`adapter` must have been made for this model"):
        build(LoRA(adapter=earlier))


@pytest.mark.parametrize("adaptation", [LoRA(2), LanguageModel(), WholeModel()])
def test_learning_on_top_of_the_folder_of_an_adapter_is_refused(earlier: Path, adaptation: Adaptation) -> None:
    with pytest.raises(ValueError, match="`path` must be a model without adapters .* that folder as `adapter` of LoRA"):
        PolicySpec(str(earlier), adaptation, dtype="float32").build()


def test_a_dropout_of_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="`dropout` must be a share in .* got 1.0"):
        LoRA(dropout=1.0)
