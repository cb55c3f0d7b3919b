"""Prompts as the model takes them."""

from __future__ import annotations

import pytest
import torch

from vlcal.policy import Policy
from vlcal.text import Grammar
from vlcal.types import PromptBatch


def test_prompts_are_padded_on_the_left(frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar) -> None:
    mask = frozen_policy.encode(mixed, grammar).rows["attention_mask"]

    assert mask[:, -1].all()
    assert (mask.diff(dim=1) >= 0).all()
    assert len(set(mask.sum(1).tolist())) > 1


def test_selected_prompts_keep_their_own_images(frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar) -> None:
    encoded = frozen_policy.encode(mixed, grammar)
    chosen = encoded.select([3, 1])

    assert encoded.features is not None and chosen.features is not None
    assert chosen.image_counts == (1, 2)
    for position, image in enumerate((3, 1, 2)):
        assert torch.equal(chosen.features.pooler_output[position], encoded.features.pooler_output[image])
        for layer, chosen_layer in zip(
            encoded.features.deepstack_features, chosen.features.deepstack_features, strict=True
        ):
            assert torch.equal(chosen_layer[position], layer[image])


def test_prompts_without_images_carry_no_features(frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar) -> None:
    blind = frozen_policy.encode(mixed, grammar).select([2])

    assert blind.features is None
    assert set(blind.model_inputs()) == {"input_ids", "attention_mask", "mm_token_type_ids"}


def test_an_index_that_repeats_gives_the_prompt_again(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar
) -> None:
    encoded = frozen_policy.encode(mixed, grammar)

    repeated = encoded.select([0, 0, 1, 1, 2, 2, 3, 3])

    assert torch.equal(repeated.rows["input_ids"][0::2], encoded.rows["input_ids"])
    assert torch.equal(repeated.rows["input_ids"][1::2], encoded.rows["input_ids"])
    assert repeated.image_counts == (1, 1, 2, 2, 0, 0, 1, 1)


def test_the_model_gets_a_feature_object_of_its_own(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar
) -> None:
    encoded = frozen_policy.encode(mixed, grammar)

    handed = encoded.model_inputs()["mm_encoder_outputs"]["image"]
    handed.pooler_output = None

    assert encoded.features is not None and encoded.features.pooler_output is not None


@pytest.mark.parametrize(("height", "width"), [(32, 96), (33, 50), (16, 16), (10, 400), (300, 700)])
def test_the_grid_counts_the_image_tokens_of_a_prompt(
    frozen_policy: Policy, mixed: PromptBatch, grammar: Grammar, height: int, width: int
) -> None:
    image = torch.rand(3, height, width)
    prompt = mixed.select([0]).with_images(((image,),))

    rows, columns = frozen_policy.grid(image)

    ids = frozen_policy.encode(prompt, grammar).rows["input_ids"]
    assert rows * columns == int((ids == frozen_policy.backbone.config.image_token_id).sum())
    assert (rows < columns) == (height < width)
