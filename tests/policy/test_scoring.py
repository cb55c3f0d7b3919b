"""What a policy makes of completions that are given to it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlcal.policy import Continuations, Frozen, Policy, WholeModel
from vlcal.policy.encode import processor_inputs
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Completions = tuple[Tensor, Tensor]


@torch.no_grad()
def test_a_padded_batch_is_scored_as_each_prompt_alone(
    frozen_policy: Policy, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    tokens, mask = completions

    together = frozen_policy.score(Continuations.of(frozen_policy.encode(mixed, grammar), tokens, mask))

    for row in range(len(mixed)):
        encoded = frozen_policy.encode(mixed.select([row]), grammar)
        for completion in (2 * row, 2 * row + 1):
            length = int(mask[completion].sum())
            alone = frozen_policy.score(
                Continuations.of(encoded, tokens[[completion], :length], mask[[completion], :length])
            )
            for batched, single in zip(together, alone, strict=True):
                torch.testing.assert_close(batched[completion, :length], single[0], atol=2e-5, rtol=0)
                assert not batched[completion, length:].any()


@torch.no_grad()
def test_prompts_selected_from_a_batch_are_scored_as_in_it(
    frozen_policy: Policy, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    tokens, mask = completions
    encoded = frozen_policy.encode(mixed, grammar)
    together, _ = frozen_policy.score(Continuations.of(encoded, tokens, mask))

    reordered, _ = frozen_policy.score(
        Continuations.of(encoded.select([3, 1]), tokens[[6, 7, 2, 3]], mask[[6, 7, 2, 3]])
    )
    without_images, _ = frozen_policy.score(Continuations.of(encoded.select([2]), tokens[4:6], mask[4:6]))

    torch.testing.assert_close(reordered, together[[6, 7, 2, 3]], atol=2e-5, rtol=0)
    torch.testing.assert_close(without_images, together[4:6], atol=2e-5, rtol=0)


@torch.no_grad()
def test_a_batch_without_any_image_is_scored(
    frozen_policy: Policy, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    tokens, mask = completions
    blind = mixed.with_images(((),) * 4)

    log_probs, entropy = frozen_policy.score(Continuations.of(frozen_policy.encode(blind, grammar), tokens, mask))

    assert log_probs[mask].isfinite().all()
    assert (entropy[mask] > 0).all()


@torch.no_grad()
def test_encoding_an_image_once_equals_handing_its_pixels_to_every_pass(
    frozen_policy: Policy, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    tokens, mask = completions[0][::2], completions[1][::2]
    inputs = processor_inputs(frozen_policy.processor, mixed, grammar)
    whole = frozen_policy.backbone(
        input_ids=torch.cat([inputs["input_ids"], tokens], 1),
        attention_mask=torch.cat([inputs["attention_mask"], mask.long()], 1),
        mm_token_type_ids=torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(tokens)], 1),
        pixel_values=inputs["pixel_values"],
        image_grid_thw=inputs["image_grid_thw"],
    ).logits[:, -tokens.shape[1] - 1 : -1]

    scored, _ = frozen_policy.score(Continuations.of(frozen_policy.encode(mixed, grammar), tokens, mask))

    allowed = whole.index_fill(-1, torch.tensor(frozen_policy.placeholders), -torch.inf).log_softmax(-1)
    expected = allowed.gather(-1, tokens[..., None])[..., 0]
    torch.testing.assert_close(scored[mask], expected[mask], atol=2e-5, rtol=0)


@torch.no_grad()
def test_the_image_matters(
    frozen_policy: Policy, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    tokens, mask = completions
    spoiled = mixed.with_images(tuple(tuple(1 - image for image in images) for images in mixed.images))

    seen, _ = frozen_policy.score(Continuations.of(frozen_policy.encode(mixed, grammar), tokens, mask))
    other, _ = frozen_policy.score(Continuations.of(frozen_policy.encode(spoiled, grammar), tokens, mask))

    gap = (seen - other).abs().amax(1)
    assert (gap[[0, 1, 2, 3, 6, 7]] > 1e-3).all()
    assert (gap[[4, 5]] < 2e-5).all()


@torch.no_grad()
def test_an_injected_placeholder_neither_crashes_a_pass_nor_counts(
    frozen_policy: Policy, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    tokens, mask = completions[0].clone(), completions[1]
    config = frozen_policy.backbone.config
    for row, name in enumerate(("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")):
        tokens[7 - row, 0] = getattr(config, name)
    encoded = frozen_policy.encode(mixed, grammar)

    log_probs, entropy = frozen_policy.score(Continuations.of(encoded, tokens, mask))

    assert log_probs.isfinite().all() and entropy.isfinite().all()
    assert not log_probs[4:, 0].any() and not entropy[4:, 0].any()
    assert not frozen_policy.scorable_mask(tokens, mask)[4:, 0].any()
    padded = tokens.clone()
    padded[4:, 0] = frozen_policy.tokenizer.pad_token_id
    torch.testing.assert_close(
        log_probs[4:, 1:], frozen_policy.score(Continuations.of(encoded, padded, mask))[0][4:, 1:]
    )


@torch.no_grad()
def test_tokens_that_stand_for_pictures_have_probability_zero(frozen_policy: Policy) -> None:
    logits = frozen_policy.head(torch.randn(3, frozen_policy.backbone.config.text_config.hidden_size))

    forbidden = logits.isneginf()

    assert forbidden[:, frozen_policy.placeholders].all()
    assert int(forbidden.sum()) == 3 * 4  # image, video, and the two marks around them


def test_a_learning_vision_tower_gets_a_gradient_and_a_frozen_one_none(
    build: Callable[..., Policy], mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    tokens, mask = completions
    policy = build(WholeModel())
    policy.score(Continuations.of(policy.encode(mixed, grammar), tokens, mask))[0].sum().backward()
    tower = [weight.grad for name, weight in policy.backbone.named_parameters() if "visual" in name]

    assert all(gradient is not None for gradient in tower)
    assert sum(float(gradient.norm()) for gradient in tower if gradient is not None) > 0
    policy.requires_grad_(False)
    policy.vision_frozen = True
    features = policy.encode(mixed, grammar).features
    assert features is not None and not features.pooler_output[0].requires_grad


@torch.no_grad()
def test_statistics_of_a_bfloat16_policy_are_float32_and_close_to_those_of_a_float32_one(
    build: Callable[..., Policy],
    frozen_policy: Policy,
    mixed: PromptBatch,
    completions: Completions,
    grammar: Grammar,
) -> None:
    tokens, mask = completions
    coarse = build(Frozen(), dtype="bfloat16")

    hidden = coarse.hidden(Continuations.of(coarse.encode(mixed, grammar), tokens, mask))
    log_probs, entropy = coarse.score(Continuations.of(coarse.encode(mixed, grammar), tokens, mask))

    exact, exact_entropy = frozen_policy.score(Continuations.of(frozen_policy.encode(mixed, grammar), tokens, mask))
    assert hidden.dtype is torch.bfloat16
    assert log_probs.dtype is entropy.dtype is torch.float32
    torch.testing.assert_close(log_probs, exact, atol=0.5, rtol=0.05)
    torch.testing.assert_close(entropy, exact_entropy, atol=0.2, rtol=0.05)


def test_levels_of_several_tokens_are_refused_by_name(frozen_policy: Policy) -> None:
    assert frozen_policy.level_tokens(Grammar()).shape == (2, 11)

    with pytest.raises(ValueError, match=r"`grammar.levels` must be one token each.*\[25, 100\].*SampledConfidence"):
        frozen_policy.level_tokens(Grammar(levels=(0, 25, 100)))


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of torch, about GPUs of another maker
def test_a_dtype_without_instructions_on_this_cpu_is_warned_of(
    build: Callable[..., Policy], caplog: pytest.LogCaptureFixture
) -> None:
    coarse, exact = build(Frozen(), dtype="bfloat16"), build(Frozen())

    with torch.backends.mkldnn.flags(enabled=False):  # whose kernels alone have instructions for bfloat16
        coarse.layout, exact.layout  # noqa: B018

    warnings = [record.getMessage() for record in caplog.records if "as long as float32" in record.getMessage()]
    assert len(warnings) == 1
    assert re.match(r"bfloat16 takes \d+ times as long .* set `dtype` of the policy to float32", warnings[0])
