"""The tokens of levels are those that a response holds, whatever the kind of the tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerFast

from tests.text.tokenizers import byte_level, metaspace, unigram, word_piece
from vlcal.text import Grammar, parse
from vlcal.text.grammar import CONFIDENCES
from vlcal.text.levels import level_tokens, spelled_levels
from vlcal.text.spans import token_masks, token_offsets

DIGITS = Grammar(levels=tuple(range(10)))
KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level BPE": byte_level,
    "byte-level BPE, tags as tokens": lambda: byte_level(added=Grammar().tags),
    "SentencePiece BPE": metaspace,
    "SentencePiece unigram": unigram,
    "WordPiece": word_piece,
}


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return KINDS[request.param]()


def test_a_level_is_the_token_behind_its_tag(tokenizer: PreTrainedTokenizerFast) -> None:
    for tokens in level_tokens(tokenizer, DIGITS):
        assert tokenizer.convert_ids_to_tokens(tokens) == list("0123456789")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "WordPiece"])  # which puts spaces into every tag
def test_a_level_is_the_token_that_a_response_states_it_with(kind: str) -> None:
    tokenizer = KINDS[kind]()
    expected = level_tokens(tokenizer, DIGITS)

    for level in range(10):
        ids = tokenizer.encode(DIGITS.render("a", "b", "c", "d", level, 9 - level))
        text, offsets = token_offsets(tokenizer, ids)
        masks = token_masks(offsets, parse(text, DIGITS).spans, len(ids))
        stated = [[ids[int(place)] for place in masks[name].nonzero()] for name in CONFIDENCES]
        assert stated == [[expected[0][level]], [expected[1][9 - level]]]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "WordPiece"])
def test_a_level_below_zero_is_stated_like_any_other_and_refused_where_it_must_be_one_token(kind: str) -> None:
    tokenizer, grammar = KINDS[kind](), Grammar(levels=(-1, 5))

    ids = tokenizer.encode(grammar.render("a", "b", "c", "d", -1, 5))
    text, offsets = token_offsets(tokenizer, ids)
    said = parse(text, grammar)
    stated = token_masks(offsets, said.spans, len(ids))["visual_confidence"].nonzero()[:, 0].tolist()

    assert (said.visual_confidence, said.reasoning_confidence, said.well_formed) == (0.0, 1.0, True)
    assert tuple(ids[place] for place in stated) == spelled_levels(tokenizer, grammar, "visual_confidence")[0]
    with pytest.raises(ValueError, match=r"one token each .* splits \[-1\]"):
        level_tokens(tokenizer, grammar)


@pytest.mark.parametrize("kind", ["SentencePiece BPE", "SentencePiece unigram"])
def test_a_space_in_front_of_every_text_is_no_part_of_a_level(kind: str) -> None:
    tokenizer = KINDS[kind]()

    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("8", add_special_tokens=False)) == ["▁", "8"]
    assert spelled_levels(tokenizer, DIGITS, "visual_confidence")[8] == (tokenizer.convert_tokens_to_ids("8"),)


@pytest.mark.parametrize(
    ("build", "whole"), [(byte_level, False), (unigram, False), (lambda: unigram("10"), True), (word_piece, None)]
)
def test_a_level_of_two_digits_is_taken_as_the_tokenizer_has_it(
    build: Callable[[], PreTrainedTokenizerFast], whole: bool | None
) -> None:
    tokenizer = build()
    ten = spelled_levels(tokenizer, Grammar(), "reasoning_confidence")[10]

    assert tokenizer.convert_ids_to_tokens(list(ten)) == {True: ["10"], False: ["1", "0"], None: ["[UNK]"]}[whole]


def test_levels_of_several_tokens_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`grammar.levels` must be one token each.* splits \[10\].*SampledConfidence"):
        level_tokens(unigram(), Grammar())


def test_levels_without_a_token_of_their_own_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`grammar.levels` must have different tokens.* same ones for \[25, 100\]"):
        level_tokens(word_piece(), Grammar(levels=(0, 5, 25, 100)))


@pytest.mark.parametrize(("merges", "joined"), [([(">", "7")], r"\[7\]"), ([("0", "<")], r"\[0, 10\]")])
def test_levels_that_are_joined_to_a_tag_are_refused_by_name(merges: list[tuple[str, str]], joined: str) -> None:
    expected = f"of their own between <vision_confidence> and </vision_confidence>, .* joins {joined} to a tag"
    with pytest.raises(ValueError, match=expected):
        spelled_levels(byte_level(*merges), Grammar(), "visual_confidence")
