"""Completions behind their prompts, whole and in parts."""

from __future__ import annotations

import pytest
import torch

from vlcal.policy import Continuations, EncodedPrompts

PROMPTS = EncodedPrompts(
    rows={
        "input_ids": torch.tensor([[0, 11], [21, 22], [31, 32]]),
        "attention_mask": torch.tensor([[0, 1], [1, 1], [1, 1]]),
    },
    grids={},
    features=None,
    image_counts=(0, 0, 0),
    block_counts=(0, 0, 0),
)
TOKENS = torch.arange(12).view(6, 2)
WHOLE = Continuations.of(PROMPTS, TOKENS, TOKENS % 4 != 3)


def test_groups_of_equal_size_lie_prompt_by_prompt() -> None:
    assert WHOLE.prompt_index.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_part_holds_its_completions_and_each_of_their_prompts_once() -> None:
    part = WHOLE.select([1, 4, 5])

    assert part.rows.tolist() == [1, 4, 5]
    assert part.tokens.tolist() == [[2, 3], [8, 9], [10, 11]]
    assert part.mask.tolist() == [[True, False], [True, True], [True, False]]
    assert part.prompts == [0, 2]
    assert part.prompt_index.tolist() == [0, 1, 1]  # prompt 2 of the whole is prompt 1 of the part
    assert part.encoded.rows["input_ids"].tolist() == [[0, 11], [31, 32]]


def test_a_part_of_a_part_is_a_part() -> None:
    once, twice = WHOLE.select([4, 5]), WHOLE.select([1, 4, 5]).select([1, 2])

    assert torch.equal(once.tokens, twice.tokens)
    assert once.prompt_index.tolist() == twice.prompt_index.tolist() == [0, 0]
    assert torch.equal(once.encoded.rows["input_ids"], twice.encoded.rows["input_ids"])


@pytest.mark.parametrize("hole", [[False, True], [True, False, True], [False, False, True]])
def test_a_mask_with_a_hole_is_refused_where_the_record_is_made(hole: list[bool]) -> None:
    mask = torch.ones(6, len(hole), dtype=torch.bool)
    mask[4] = torch.tensor(hole)

    with pytest.raises(ValueError, match=r"`Continuations.mask` .* that of completion 4 has a hole"):
        Continuations.of(PROMPTS, torch.zeros_like(mask, dtype=torch.long), mask)


def test_a_completion_without_a_token_has_no_hole() -> None:
    nothing = torch.zeros(3, 0, dtype=torch.bool)

    assert len(Continuations.of(PROMPTS, nothing.long(), nothing).mask) == 3
    assert not Continuations.of(PROMPTS, TOKENS, TOKENS < 0).mask.any()
