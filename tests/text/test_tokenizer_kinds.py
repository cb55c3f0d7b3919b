"""Whatever text under whatever kind of tokenizer: read without an error, and its tokens found without a gap."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from vlcal.errors import UserError
from vlcal.text import SPAN_NAMES, Grammar, parse
from vlcal.text.spans import token_masks, token_offsets

GRAMMAR = Grammar()
CORPUS = [GRAMMAR.render(f"a {n} and 中 é", f"{n} + 2 = 🙂", str(n), "the sum of both", n, 10 - n) for n in range(11)]


def byte_level_bpe() -> Tokenizer:
    """As GPT-2's and Qwen's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def unigram() -> Tokenizer:
    """As those of SentencePiece with fallback to bytes: T5's, Gemma's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=120, unk_token="<unk>", show_progress=False)
    )
    learned = tokenizer.get_vocab()
    pieces = [("<unk>", 0.0), *((piece, -float(rank)) for rank, piece in enumerate(learned) if piece != "<unk>")]
    whole = Tokenizer(models.Unigram([*pieces, *((f"<0x{byte:02X}>", -200.0) for byte in range(256))], 0, True))
    whole.pre_tokenizer = pre_tokenizers.Metaspace()
    whole.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return whole


def word_piece() -> Tokenizer:
    """As BERT's: what it does not know is one token, and white space is not kept."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    special = ["[UNK]", *GRAMMAR.tags]
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level BPE": byte_level_bpe,
    "unigram": unigram,
    "WordPiece": word_piece,
}
BUILT = {name: PreTrainedTokenizerFast(tokenizer_object=build()) for name, build in KINDS.items()}

pieces = st.one_of(
    st.text(max_size=8), st.sampled_from([*GRAMMAR.tags, "7", "10", " ", "\n", "{", "\\", "中", "🙂", "\u200b"])
)
texts = st.one_of(
    st.lists(pieces, max_size=30).map("".join),
    st.builds(GRAMMAR.render, pieces, pieces, pieces, pieces, st.integers(0, 10), st.integers(0, 10)),
)
levels = st.lists(st.integers(-(10**6), 10**6), max_size=12).map(tuple)


def assert_sound(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> None:
    """Extents in order, without a gap; the tokens of each part cover it, and the first of them reaches into it."""
    text, offsets = token_offsets(tokenizer, ids)
    assert text == tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    reached = 0
    for (start, end), previous in zip(offsets, [(0, 0), *offsets], strict=False):
        assert previous[0] <= start <= min(end, reached) and end <= len(text)
        reached = max(reached, end)
    assert reached == len(text)
    said = parse(text, GRAMMAR)
    for name, mask in token_masks(offsets, said.spans, len(ids)).items():
        span, chosen = said.spans[name], mask.nonzero()[:, 0].tolist()
        assert bool(chosen) == (span is not None and span[0] < span[1])
        if span is not None and chosen:
            assert mask[chosen[0] : chosen[-1] + 1].all()
            assert offsets[chosen[0]][0] <= span[0] < offsets[chosen[0]][1]
            assert max(offsets[token][1] for token in chosen) >= span[1]


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, cut=st.integers(0, 200))
def test_the_tokens_of_any_text_are_found_however_it_is_cut_short(kind: str, text: str, cut: int) -> None:
    ids = BUILT[kind].encode(text, add_special_tokens=False)
    assert_sound(BUILT[kind], ids)
    assert_sound(BUILT[kind], ids[:cut])


def test_bytes_of_a_replacement_character_that_was_written_are_its_own() -> None:
    tokenizer = BUILT["unigram"]
    ids = tokenizer.encode("a\ufffdb", add_special_tokens=False)

    assert tokenizer.convert_ids_to_tokens(ids) == ["▁", "a", "<0xEF>", "<0xBF>", "<0xBD>", "b"]
    assert token_offsets(tokenizer, ids) == ("a\ufffdb", [(0, 0), (0, 1), *[(1, 2)] * 3, (2, 3)])
    broken = [
        *ids[:3],
        *tokenizer.encode("中", add_special_tokens=False)[1:],
    ]  # a byte alone, then three of a character
    assert token_offsets(tokenizer, broken) == ("a\ufffd中", [(0, 0), (0, 1), (1, 2), *[(2, 3)] * (len(broken) - 3)])


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_tokens_are_found(kind: str, data: st.DataObject) -> None:
    assert_sound(BUILT[kind], data.draw(st.lists(st.integers(0, len(BUILT[kind]) - 1), max_size=60)))


def byte_tokens(kind: str, written: bytes) -> list[int]:
    """A token for each byte."""
    symbols = bytes_to_unicode() if kind == "byte-level BPE" else {byte: f"<0x{byte:02X}>" for byte in range(256)}
    return [BUILT[kind].convert_tokens_to_ids(symbols[byte]) for byte in written]


RUNS = {
    "lone bytes": b"\x80",
    "characters without an end": b"\xf0\x9f",
    "replacement characters that were written": b"\xef\xbf\xbd",
    "characters and lone bytes": b"\xc3\xa9\xc3",
    "letters among broken bytes": b"A\xff",
}


@pytest.mark.parametrize("kind", ["byte-level BPE", "unigram"])
@pytest.mark.parametrize("run", RUNS)
def test_long_runs_of_broken_bytes_are_found_in_near_linear_time(kind: str, run: str) -> None:
    tokenizer, seconds = BUILT[kind], []
    for repeats in (300, 1200):
        ids = [
            *tokenizer.encode("<think>a 7 and 中", add_special_tokens=False),
            *byte_tokens(kind, RUNS[run] * repeats),
            *tokenizer.encode("<answer>9 and é 🙂</answer>", add_special_tokens=False),
        ]
        start = time.process_time()
        _, offsets = token_offsets(tokenizer, ids)
        seconds.append(time.process_time() - start)
        assert_sound(tokenizer, ids)
        assert len(offsets) == len(ids)
        assert all(end - begin <= 8 for begin, end in offsets), "a mask holds what a token has no part in"

    # Four times as long takes 4 times as long, and took 16 times before; what is below a tenth of a second is noise.
    assert seconds[1] < max(8 * seconds[0], 0.1)


@given(levels=levels, text=texts, instructions=st.none() | st.text(max_size=5))
def test_any_levels_make_a_grammar_or_a_refusal_and_any_text_is_read_under_it(
    levels: tuple[int, ...], text: str, instructions: str | None
) -> None:
    try:
        grammar = Grammar(levels, instructions)
    except UserError:
        assert len(levels) < 2 or any(low >= high for low, high in pairwise(levels))
        return
    said = parse(text, grammar)
    assert set(said.spans) == set(SPAN_NAMES)
    assert all(0 <= start <= end <= len(text) for start, end in filter(None, said.spans.values()))
    for name, confidence in (("visual", said.visual_confidence), ("reasoning", said.reasoning_confidence)):
        assert math.isnan(confidence) == (said.spans[f"{name}_confidence"] is None)
        assert math.isnan(confidence) or 0 <= confidence <= 1
    whole = grammar.render("a", "b", "c", "d", levels[0], levels[-1])
    assert (parse(whole, grammar).visual_confidence, parse(whole, grammar).reasoning_confidence) == (0, 1)
    assert grammar.prompt(text).startswith(text)
