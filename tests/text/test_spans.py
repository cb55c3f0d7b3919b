"""Offsets and masks on real tokenizers, built here: byte-level as Qwen's, sentencepiece-like, with and without tags."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.text.tokenizers import byte_level, metaspace
from vlcal.text import Grammar, parse
from vlcal.text.spans import token_masks, token_offsets

TEXT = Grammar().render("a 7 and a 中 🙂", "7 + 2 = 9", "9", "é clear", 7, 10)


def letters_of(character: str) -> list[str]:
    """The letters that stand for the bytes of a character in a byte-level vocabulary."""
    return list(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(character)[0][0])


def cut_across() -> PreTrainedTokenizerFast:
    """Merges a space with the first byte of 中, its last byte with a space, and a tag with its neighbours."""
    space, head, _, tail = " ", *letters_of("中")
    space = letters_of(space)[0]
    return byte_level((space, head), (tail, space), (">", "7"), ("<", "/"), (">7", "</"), ("0", "<"), ("{", "9"))


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bytes": byte_level,
    "cut across": cut_across,
    "tags as tokens": lambda: byte_level(added=Grammar().tags),
    "metaspace": lambda: metaspace((">", "7")),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]()


def decoded(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def assert_covers(text: str, offsets: list[tuple[int, int]]) -> None:
    """Extents in order, inside the text, leaving no character out."""
    reached = 0
    for (start, end), previous in zip(offsets, [(0, 0), *offsets], strict=False):
        assert previous[0] <= start <= end <= len(text)
        assert start <= reached
        reached = max(reached, end)
    assert reached == len(text)


def test_text_is_what_the_tokenizer_decodes_and_extents_cover_it(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode(TEXT)
    text, offsets = token_offsets(tokenizer, ids)
    assert text == decoded(tokenizer, ids) == TEXT
    assert len(offsets) == len(ids)
    assert_covers(text, offsets)


def test_masks_are_the_tokens_whose_bytes_reach_into_the_span(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode(TEXT)
    text, offsets = token_offsets(tokenizer, ids)
    spans = parse(text, Grammar()).spans
    for name, mask in token_masks(offsets, spans, len(ids)).items():
        span = spans[name]
        assert span is not None
        first, last = int(mask.nonzero()[0]), int(mask.nonzero()[-1])
        assert mask[first : last + 1].all()
        # Without the last token of the span its end is missing; everything before its first token is before its start.
        assert not decoded(tokenizer, ids[:last]).startswith(text[: span[1]])
        assert text.startswith(decoded(tokenizer, ids[:first]).rstrip("\ufffd")[: span[0]])
        assert decoded(tokenizer, ids[: last + 1]).startswith(text[: span[1]])
        assert len(decoded(tokenizer, ids[:first])) <= span[0]
        assert len(decoded(tokenizer, ids[: first + 1])) > span[0]


@given(data=st.data())
@pytest.mark.parametrize("name", TOKENIZERS)
def test_any_sequence_of_tokens_is_covered(name: str, data: st.DataObject) -> None:
    tokenizer = BUILT[name]
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=40))
    text, offsets = token_offsets(tokenizer, ids)
    assert text == decoded(tokenizer, ids)
    assert len(offsets) == len(ids)
    assert_covers(text, offsets)


@given(data=st.data())
@pytest.mark.parametrize("name", TOKENIZERS)
def test_any_text_is_covered_however_it_is_cut_short(name: str, data: st.DataObject) -> None:
    tokenizer = BUILT[name]
    ids = tokenizer.encode(data.draw(st.text(alphabet=" a7中🙂é<>/{}", max_size=30)))
    ids = ids[: data.draw(st.integers(0, len(ids)))]
    text, offsets = token_offsets(tokenizer, ids)
    assert text == decoded(tokenizer, ids)
    assert_covers(text, offsets)


BUILT = {name: build() for name, build in TOKENIZERS.items()}


def test_every_byte_of_a_character_gets_that_character() -> None:
    tokenizer = byte_level()
    _, offsets = token_offsets(tokenizer, tokenizer.encode("a🙂中b"))
    assert offsets == [(0, 1), *[(1, 2)] * 4, *[(2, 3)] * 3, (3, 4)]


def test_bytes_of_a_sentencepiece_fallback_get_their_character() -> None:
    tokenizer = metaspace()
    ids = tokenizer.encode("a中国 7")
    text, offsets = token_offsets(tokenizer, ids)
    assert text == "a中国 7"
    assert offsets == [(0, 1), *[(1, 2)] * 3, *[(2, 3)] * 3, (3, 5)]


def test_a_token_across_two_characters_gets_both() -> None:
    tokenizer = cut_across()
    ids = tokenizer.encode("a 中 b")
    text, offsets = token_offsets(tokenizer, ids)
    assert tokenizer.convert_ids_to_tokens(ids)[1] == "".join([*letters_of(" "), letters_of("中")[0]])
    assert text == "a 中 b"
    assert offsets == [(0, 1), (1, 3), (2, 3), (2, 4), (4, 5)]


def test_bytes_that_never_become_a_character_share_its_replacement() -> None:
    tokenizer = byte_level()
    text, offsets = token_offsets(tokenizer, tokenizer.encode("a🙂")[:-1])
    assert text == "a\ufffd"
    assert offsets == [(0, 1), *[(1, 2)] * 3]


def test_a_leading_space_belongs_to_its_word_except_at_the_start() -> None:
    tokenizer = metaspace()
    ids = tokenizer.encode("a and a")
    assert tokenizer.convert_ids_to_tokens(ids) == ["▁a", "▁and", "▁a"]
    assert token_offsets(tokenizer, ids) == ("a and a", [(0, 1), (1, 5), (5, 7)])


def test_special_tokens_have_their_own_characters() -> None:
    tokenizer = byte_level(added=("<vision>",))
    ids = [*tokenizer.encode("<vision>7"), tokenizer.convert_tokens_to_ids("<|im_end|>")]
    assert token_offsets(tokenizer, ids) == ("<vision>7<|im_end|>", [(0, 8), (8, 9), (9, 19)])


def test_a_level_merged_with_its_tags_is_still_found() -> None:
    tokenizer = cut_across()
    ids = tokenizer.encode(TEXT)
    text, offsets = token_offsets(tokenizer, ids)
    masks = token_masks(offsets, parse(text, Grammar()).spans, len(ids))
    chosen = [int(index) for index in masks["visual_confidence"].nonzero()]
    assert tokenizer.convert_ids_to_tokens([ids[index] for index in chosen]) == [">7</"]


def test_a_level_of_one_added_token_is_one_token() -> None:
    tokenizer = byte_level(added=(*Grammar().tags, "10"))
    ids = tokenizer.encode(TEXT)
    text, offsets = token_offsets(tokenizer, ids)
    mask = token_masks(offsets, parse(text, Grammar()).spans, len(ids))["reasoning_confidence"]
    assert [ids[int(index)] for index in mask.nonzero()] == [tokenizer.convert_tokens_to_ids("10")]


def test_no_tokens_give_no_text() -> None:
    assert token_offsets(byte_level(), []) == ("", [])


def test_masks_are_false_on_padding_and_for_absent_spans() -> None:
    masks = token_masks([(0, 2), (2, 4), (4, 4)], {"vision": (1, 4), "answer": None, "reasoning": (2, 2)}, 5)
    assert masks["vision"].tolist() == [True, True, False, False, False]
    assert not masks["answer"].any()
    assert not masks["reasoning"].any()
    assert all(mask.dtype == torch.bool for mask in masks.values())


def test_more_tokens_than_the_row_is_long_are_refused() -> None:
    with pytest.raises(ValueError, match="`length` must be at least the number of tokens, 2; got 1"):
        token_masks([(0, 1), (1, 2)], {}, 1)
