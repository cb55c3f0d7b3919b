"""Recomputed activations change memory and time, and no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vlcal.policy import Adaptation, Continuations, LanguageModel, LoRA, Policy, PolicySpec, QLoRA, TransformersEngine
from vlcal.policy.activations import Activations, KeptActivations, RecomputedActivations
from vlcal.policy.layers import EveryLayer
from vlcal.text import Grammar
from vlcal.types import PromptBatch


@pytest.fixture
def built(embedded: Path) -> Callable[..., Policy]:
    """The embedded model with adapters that start from the same numbers, in training mode."""

    def made(activations: Activations, adaptation: Adaptation) -> Policy:
        torch.manual_seed(0)
        policy = PolicySpec(str(embedded), adaptation, dtype="float32", activations=activations).build()
        with torch.no_grad():
            for weight in policy.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) * 0.05)
        return policy.train()

    return made


def passes(module: nn.Module) -> list[int]:
    """Grows by the tokens of every pass through the module; the one of the backward pass included."""
    seen: list[int] = []
    # On the norm inside a block, since transformers keeps the hooks of a block itself out of the second pass.
    module.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[1]))
    return seen


@pytest.mark.parametrize("adaptation", [LoRA(2), LanguageModel(), QLoRA(2), LoRA(2, layers=EveryLayer())])
def test_gradients_are_equal_with_and_without_recomputation(
    built: Callable[..., Policy],
    adaptation: Adaptation,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
) -> None:
    gradients = []
    for activations in (KeptActivations(), RecomputedActivations()):
        policy = built(activations, adaptation)
        policy.score(Continuations.of(policy.encode(mixed, grammar), *completions))[0].sum().backward()
        gradients.append({name: weight.grad for name, weight in policy.named_parameters() if weight.requires_grad})

    kept, recomputed = gradients
    assert kept.keys() == recomputed.keys()
    for name in kept:
        torch.testing.assert_close(recomputed[name], kept[name], rtol=1e-4, atol=1e-5)


def test_less_is_kept_for_the_backward_pass(
    built: Callable[..., Policy], mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    kept = []
    for activations in (KeptActivations(), RecomputedActivations(every=2), RecomputedActivations()):
        policy, numbers = built(activations, LoRA(2)), 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal numbers
            numbers += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            policy.hidden(Continuations.of(policy.encode(mixed, grammar), *completions))
        kept.append(numbers)

    everything, half, little = kept
    assert little < half < everything and little < everything / 4


def test_chosen_blocks_of_the_language_model_run_twice_and_the_tower_once(
    built: Callable[..., Policy], mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    policy = built(RecomputedActivations(every=3), LoRA(2, layers=EveryLayer()))
    with torch.no_grad():  # the first pass of all tries out layouts
        policy.score(Continuations.of(policy.encode(mixed, grammar), *completions))
    blocks = [passes(block.input_layernorm) for block in policy.backbone.model.language_model.layers]
    tower = passes(policy.backbone.model.visual.blocks[0].norm1)

    policy.score(Continuations.of(policy.encode(mixed, grammar), *completions))[0].sum().backward()

    once = len(blocks[1])
    assert [len(each) for each in blocks] == [2 * once, once, once, 2 * once, once, once, 2 * once, once]
    assert len(tower) == 1


def test_passes_without_gradient_are_not_repeated_and_sampling_keeps_its_cache(
    built: Callable[..., Policy], mixed: PromptBatch, completions: tuple[Tensor, Tensor], grammar: Grammar
) -> None:
    policy = built(RecomputedActivations(), LoRA(2))
    encoded = policy.encode(mixed, grammar)
    with torch.no_grad():  # the first pass of all tries out layouts
        policy.score(Continuations.of(encoded, *completions))
    seen = passes(policy.backbone.model.language_model.layers[0].input_layernorm)
    with torch.no_grad():
        policy.score(Continuations.of(encoded, *completions))
    scoring = len(seen)
    rollouts = TransformersEngine(max_new_tokens=4).sample(policy, encoded, 2, [0, 1, 2, 3])

    plain = built(KeptActivations(), LoRA(2))
    expected = TransformersEngine(max_new_tokens=4).sample(plain, plain.encode(mixed, grammar), 2, [0, 1, 2, 3])

    assert scoring == 1 and set(seen[scoring + 1 :]) == {1}  # the prompt, then one token at a time
    assert torch.equal(rollouts.tokens, expected.tokens)
    assert policy.training


def test_recomputing_every_zeroth_block_is_refused() -> None:
    with pytest.raises(ValueError, match="`every` must be at least 1.* got 0"):
        RecomputedActivations(0)
