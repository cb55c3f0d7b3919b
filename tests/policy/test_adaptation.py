"""Which weights learn, and what the policy is held close to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlcal.objectives import ExactReferenceKL, Predictions
from vlcal.policy import (
    Adaptation,
    AdapterOff,
    Continuations,
    Frozen,
    FrozenCopy,
    LanguageModel,
    LoRA,
    Policy,
    WholeModel,
)
from vlcal.text import Grammar
from vlcal.types import PromptBatch


def learning(policy: Policy) -> list[str]:
    return [name for name, weight in policy.backbone.named_parameters() if weight.requires_grad]


@torch.no_grad()
def disturb(policy: Policy) -> None:
    for weight in policy.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn_like(weight) * 0.1)


@pytest.mark.parametrize(
    ("adaptation", "frozen"), [(Frozen(), True), (LanguageModel(), True), (LoRA(2), True), (WholeModel(), False)]
)
def test_the_vision_tower_is_frozen_unless_the_whole_model_learns(
    build: Callable[..., Policy], adaptation: Adaptation, frozen: bool
) -> None:
    policy = build(adaptation)

    assert policy.vision_frozen is frozen
    assert any("visual" in name for name in learning(policy)) is not frozen


def test_adapters_sit_on_every_linear_layer_of_the_language_model_and_nowhere_else(
    build: Callable[..., Policy],
) -> None:
    policy = build(LoRA(2))

    names = learning(policy)

    # Six layers of seven linear ones: query, key, value, output, gate, up, down; two matrices each.
    assert len(names) == 8 * 7 * 2
    assert all(name.startswith("model.language_model.layers.") and "lora_" in name for name in names)


def test_nothing_of_a_frozen_policy_learns(build: Callable[..., Policy]) -> None:
    assert learning(build(Frozen())) == []


def test_a_rank_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="`rank` must be at least 1.* got 0"):
        LoRA(0)


def test_fresh_adapters_change_nothing_and_switching_off_disturbed_ones_gives_the_start_back(
    build: Callable[..., Policy],
    frozen_policy: Policy,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
) -> None:
    tokens, mask = completions
    policy, reference = build(LoRA(2)), AdapterOff()
    encoded = policy.encode(mixed, grammar)
    with torch.no_grad():
        base, _ = frozen_policy.score(Continuations.of(encoded, tokens, mask))
        fresh, _ = policy.score(Continuations.of(encoded, tokens, mask))
        disturb(policy)
        disturbed, _ = policy.score(Continuations.of(encoded, tokens, mask))

    with reference.model(policy) as original, torch.no_grad():
        held, _ = original.score(Continuations.of(encoded, tokens, mask), 1.0)

    torch.testing.assert_close(fresh, base, atol=1e-5, rtol=0)
    assert (disturbed - base).abs().max() > 0.1
    torch.testing.assert_close(held, base, atol=1e-5, rtol=0)
    with torch.no_grad():  # and they are on again
        torch.testing.assert_close(
            policy.score(Continuations.of(encoded, tokens, mask))[0], disturbed, atol=1e-5, rtol=0
        )


def test_a_frozen_copy_stays_where_the_policy_was(
    build: Callable[..., Policy],
    frozen_policy: Policy,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
) -> None:
    tokens, mask = completions
    policy, reference = build(LanguageModel()), FrozenCopy()
    reference.attach(policy)
    disturb(policy)
    encoded = policy.encode(mixed, grammar)

    with reference.model(policy) as original, torch.no_grad():
        held, _ = original.score(Continuations.of(encoded, tokens, mask), 0.5)

    with torch.no_grad():
        base, _ = frozen_policy.score(Continuations.of(encoded, tokens, mask), 0.5)
        moved, _ = policy.score(Continuations.of(encoded, tokens, mask), 0.5)
    torch.testing.assert_close(held, base, atol=1e-5, rtol=0)
    assert (moved - base).abs().max() > 0.1
    assert learning(policy)


def test_the_divergence_from_a_frozen_copy_is_the_exact_kl_through_each_ones_own_head(
    build: Callable[..., Policy],
    frozen_policy: Policy,
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
) -> None:
    policy, reference = build(LanguageModel()), FrozenCopy()
    reference.attach(policy)
    continuations = Continuations.of(policy.encode(mixed, grammar), *completions)
    mask = continuations.mask

    def predicted(model: Policy) -> Predictions:
        return Predictions(model.hidden(continuations), model.head, continuations.tokens, mask, 1.0)

    def divergence() -> Tensor:
        with reference.model(policy) as original, torch.no_grad():
            held = predicted(original)
        return ExactReferenceKL()(predicted(policy), held, mask).loss

    before = divergence()
    disturb(policy)  # the head included, which shares its weights with the embedding

    with torch.no_grad():
        p, q = (model.head(model.hidden(continuations)).log_softmax(-1) for model in (frozen_policy, policy))
        allowed = ~p.isneginf()
        expected = (p.exp() * (p - q).where(allowed, 0)).sum(-1)[mask].mean()
    assert float(before.detach()) == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(divergence().detach(), expected, rtol=1e-4, atol=1e-5)
    divergence().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in policy.parameters() if weight.requires_grad)


def test_a_frozen_copy_of_a_learning_vision_tower_is_refused(build: Callable[..., Policy]) -> None:
    with pytest.raises(ValueError, match="`reference` FrozenCopy shares the image features .* Use LanguageModel"):
        FrozenCopy().attach(build(WholeModel()))


def test_switching_off_adapters_that_are_not_there_is_refused(frozen_policy: Policy) -> None:
    with pytest.raises(ValueError, match="`reference` AdapterOff needs adapters .* use FrozenCopy, or a LoRA"):
        frozen_policy.without_adapters()
