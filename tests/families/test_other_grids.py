"""Families whose processors do not say how many tokens a tile takes, by processors of their own classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import transformers as hf

from tests.families.checkpoints import COLOURS, PATCH, SQUARE, TILE, _template
from tests.families.tokenizer import gemma_tokenizer, qwen_tokenizer
from vlcal.policy.grid import token_grid

Grid = tuple[int, int]


def llava(**settings: Any) -> hf.ProcessorMixin:
    images = hf.CLIPImageProcessor(size={"shortest_edge": TILE}, crop_size=SQUARE, **COLOURS)
    tokenizer = qwen_tokenizer({"image_token": "<image>"})
    given = {"patch_size": PATCH, "vision_feature_select_strategy": "full", **settings}
    return hf.LlavaProcessor(images, tokenizer, chat_template=_template("<image>\n"), **given)


def llava_next() -> hf.ProcessorMixin:
    pinpoints = [[TILE * rows, TILE * columns] for rows in (1, 2) for columns in (1, 2)]
    images = hf.LlavaNextImageProcessor(
        size={"shortest_edge": TILE}, crop_size=SQUARE, image_grid_pinpoints=pinpoints, **COLOURS
    )
    return hf.LlavaNextProcessor(
        images,
        qwen_tokenizer({"image_token": "<image>"}),
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        chat_template=_template("<image>\n"),
    )


def mistral3() -> hf.ProcessorMixin:
    marks = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
    return hf.PixtralProcessor(
        hf.PixtralImageProcessor(size={"longest_edge": 2 * TILE}, patch_size=PATCH, **COLOURS),
        qwen_tokenizer(marks),
        patch_size=PATCH,
        spatial_merge_size=2,
        chat_template=_template("[IMG]"),
    )


def aya_vision() -> hf.ProcessorMixin:
    marks = ["<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "<image>"]
    return hf.AyaVisionProcessor(
        hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4, **COLOURS),
        qwen_tokenizer({}, more=marks),
        patch_size=PATCH,
        img_size=TILE,
        downsample_factor=2,
        chat_template=_template("<image>"),
    )


def gemma4() -> hf.ProcessorMixin:
    marks = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    marks |= {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>", "video_token": "<|video|>"}
    return hf.Gemma4Processor(
        hf.Gemma4AudioFeatureExtractor(),
        hf.Gemma4ImageProcessor(patch_size=PATCH, max_soft_tokens=70, pooling_kernel_size=2),
        gemma_tokenizer(marks),
        hf.Gemma4VideoProcessor(),
        chat_template=_template("<|image|>"),
    )


# Rows and columns for pictures of 32 x 96 and 64 x 48 pixels, by hand.
GRIDS: dict[Callable[[], Any], tuple[Grid, Grid]] = {
    llava: ((4, 12), (5, 4)),  # 32 x 96 and 42 x 32 pixels, a square of which is seen; a token for every 8 x 8
    llava_next: ((3, 8), (8, 6)),  # 21 x 64 and 64 x 48 pixels between bars, a token for every 8 x 8
    mistral3: ((2, 4), (4, 3)),  # at most 64 pixels a side, a token for every 16 x 16
    aya_vision: ((2, 6), (4, 4)),  # 1 x 3 and 2 x 2 tiles of 2 x 2 tokens
    gemma4: ((4, 14), (9, 7)),  # as many of 70 squares of 2 x 2 patches as keep the sides in proportion
}


@pytest.mark.parametrize("make", GRIDS, ids=lambda make: make.__name__)
def test_a_family_without_tokens_of_a_tile_has_the_grid_of_its_patches(make: Callable[[], Any]) -> None:
    processor = make()

    assert (token_grid(processor, 32, 96), token_grid(processor, 64, 48)) == GRIDS[make]


def test_without_a_size_of_patches_cells_are_square_and_as_many_as_there_are_tokens() -> None:
    processor = llava()
    written = token_grid(processor, 32, 32)
    processor.patch_size, cut = None, processor.patch_size
    processor.replace_image_token = lambda *_, **__: "<image>" * (TILE // cut) ** 2  # what such a processor writes

    assert (written, token_grid(processor, 32, 32), token_grid(processor, 8, 32)) == ((4, 4), (4, 4), (2, 8))
