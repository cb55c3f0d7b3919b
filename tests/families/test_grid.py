"""Every family: where the image tokens of a picture lie on it, and which tokens they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.families.checkpoints import QWEN_MARKS
from tests.families.conftest import picture
from vlcal.perturbations import PatchMask
from vlcal.policy import Policy
from vlcal.policy.encode import processor_inputs
from vlcal.text import Grammar
from vlcal.types import PromptBatch

# Rows and columns for pictures of 32 x 96 and 64 x 48 pixels, by hand.
GRIDS = {
    "qwen2_5_vl": ((2, 6), (4, 3)),  # one token for every 16 x 16 pixels
    "qwen3_vl": ((2, 6), (4, 3)),
    "qwen3_5": ((2, 6), (4, 3)),
    "internvl3": ((2, 6), (4, 4)),  # 1 x 3 and 2 x 2 tiles of 2 x 2 tokens
    "internvl3_5": ((2, 6), (4, 4)),
    "gemma3": ((2, 2), (2, 2)),  # one tile of 2 x 2 tokens
    "smolvlm": ((2, 4), (4, 4)),  # the longer side is 64 pixels: 1 x 2 and 2 x 2 tiles of 2 x 2 tokens
    "llava_onevision": ((3, 8), (8, 6)),  # 21 x 64 and 64 x 48 pixels between bars, a token for every 8 x 8
}
TRUE_SIZE = {"gemma3": (32, 32)}  # pixels that no resizing mixes; the others cut 64 x 64 into tiles or patches
TILE_TOKEN = {
    "internvl3": 16,
    "internvl3_5": 16,
    "gemma3": 16,
    "smolvlm": 16,
    "llava_onevision": 8,
}  # pixels along a side
MARKS = {
    **{family: set(QWEN_MARKS.values()) for family in ("qwen2_5_vl", "qwen3_vl", "qwen3_5")},
    **{family: {"<IMG_CONTEXT>", "<video>", "<img>", "</img>"} for family in ("internvl3", "internvl3_5")},
    "gemma3": {"<image_soft_token>", "<start_of_image>", "<end_of_image>"},
    "smolvlm": {
        *("<image>", "<fake_token_around_image>", "<global-img>"),
        *(f"<row_{row}_col_{column}>" for row in (1, 2, 3) for column in (1, 2, 3)),
    },
    "llava_onevision": {"<image>", "<video>"},
}


def pixels_of(policy: Policy, image: Tensor, grammar: Grammar) -> Tensor:
    """Of patches, or of tiles."""
    prompts = PromptBatch(ids=("one",), images=((image,),), questions=("What?",), targets=("1",), extras=({},))
    pixels = processor_inputs(policy.processor, prompts, grammar)["pixel_values"]
    return pixels.flatten(0, -4) if pixels.ndim > 2 else pixels


def is_one_token(changed: Tensor, side: int) -> bool:
    """True where the changed pixels of a tile are a whole token and no more."""
    down, across = changed.any(1).nonzero()[0], changed.any(0).nonzero()[0]
    token = changed[int(down) :, int(across) :][:side, :side]
    return bool(token.all() and changed.sum() == side**2 and down % side == 0 and across % side == 0)


def test_the_grid_of_a_picture_is_that_of_its_image_tokens(policy: Policy, family: str) -> None:
    wide, high = GRIDS[family]

    assert policy.grid(torch.zeros(3, 32, 96)) == wide
    assert policy.grid(torch.zeros(3, 64, 48)) == high


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (3, 3)])
def test_a_picture_of_hardly_any_pixels_has_a_grid(policy: Policy, size: tuple[int, int]) -> None:
    rows, columns = policy.grid(torch.zeros(3, *size))

    assert rows >= 1 and columns >= 1


def test_painting_over_a_cell_of_the_grid_hides_one_token_whole_and_touches_no_other(
    policy: Policy, family: str, grammar: Grammar
) -> None:
    image = picture(*TRUE_SIZE.get(family, (64, 64)), 5)
    rows, columns = policy.grid(image)
    painted = PatchMask(1 / (rows * columns))(image, torch.Generator().manual_seed(0), (rows, columns))

    before, after = (pixels_of(policy, shown, grammar) for shown in (image, painted))

    hidden = (before != after).any(1)
    if hidden.ndim == 1:  # of patches, four of which are a token
        assert hidden.view(-1, 4).sum(1).bincount(minlength=5).tolist() == [rows * columns - 1, 0, 0, 0, 1]
    else:  # of the pixels of tiles
        changed = [tile for tile in hidden if tile.any()]
        assert 1 <= len(changed) <= 2  # a tile, and the thumbnail
        assert any(is_one_token(tile, TILE_TOKEN[family]) for tile in changed)


def test_marks_of_pictures_and_nothing_else_are_placeholders(policy: Policy, family: str) -> None:
    assert set(policy.tokenizer.convert_ids_to_tokens(policy.placeholders)) == MARKS[family]


def test_the_image_token_of_the_model_is_a_placeholder(policy: Policy, mixed: PromptBatch) -> None:
    assert policy.backbone.config.image_token_id in policy.placeholders
