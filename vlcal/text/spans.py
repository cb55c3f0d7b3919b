"""From characters to tokens: which tokens of a completion belong to which part of its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Protocol
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool
from torch import Tensor

from vlcal.errors import UserError
from vlcal.text.parse import Span


class Tokenizer(Protocol):
    """Whatever turns token ids back into text, as every tokenizer of transformers does."""

    def decode(
        self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str | list[str]:
        """The text of the tokens; a list only for a list of token sequences."""
        ...


_LONGEST = 64  # tokens of a window that is decoded anew for each of them; a character and what it joins take a dozen
_BROKEN = "\ufffd"  # stands for bytes that are no text

# The text of each token at the start of a completion and after another token (a leading space often shows only
# there). Decoding token by token costs more than everything else here; tokens repeat, so each is decoded once.
_PIECES: WeakKeyDictionary[Tokenizer, dict[int, tuple[str, str]]] = WeakKeyDictionary()


def token_offsets(tokenizer: Tokenizer, ids: list[int]) -> tuple[str, list[Span]]:
    """The text of the tokens and, for each token, the characters it has a part in.

    The text is exactly what the tokenizer decodes the whole to, special tokens included. Tokens that share a character
    (some scripts and every emoji take several) each get all of that character, so their extents overlap.
    """
    text = _decode(tokenizer, ids)
    pieces = _pieces(tokenizer, ids)
    if "".join(pieces) != text:
        return text, _incremental_offsets(tokenizer, ids, text)
    offsets: list[Span] = []
    position = 0
    for piece in pieces:
        offsets.append((position, position + len(piece)))
        position += len(piece)
    return text, offsets


def tokens_up_to(offsets: Sequence[Span], end: int) -> int:
    """How many tokens, from the first on, end there or ahead of it; one that reaches across does not.

    >>> tokens_up_to([(0, 2), (2, 3), (3, 5)], 4)
    2
    """
    return sum(1 for _ in takewhile(lambda offset: offset[1] <= end, offsets))


def token_masks(
    offsets: Sequence[Span], spans: Mapping[str, Span | None], length: int
) -> dict[str, Bool[Tensor, " T"]]:
    """For each span a mask over `length` tokens, True on every token that overlaps it.

    >>> token_masks([(0, 2), (2, 3), (3, 3)], {"vision": (1, 3), "answer": None}, 4)
    {'vision': tensor([ True,  True, False, False]), 'answer': tensor([False, False, False, False])}

    Args:
        offsets: The characters of each token, as `token_offsets` gives them.
        spans: The characters of each part; None gives a mask that is False throughout.
        length: Tokens in the padded row; those after the last offset belong to nothing.
    """
    if len(offsets) > length:
        raise UserError(f"`length` must be at least the number of tokens, {len(offsets)}; got {length}.")
    masks = {}
    for name, span in spans.items():
        mask = torch.zeros(length, dtype=torch.bool)
        if span is not None:
            inside = [max(start, span[0]) < min(end, span[1]) for start, end in offsets]
            mask[: len(inside)] = torch.tensor(inside, dtype=torch.bool)
        masks[name] = mask
    return masks


def _decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def _pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The text of each token on its own: right wherever tokens do not share characters."""
    known = _PIECES.setdefault(tokenizer, {})
    for token in set(ids) - known.keys():
        first = _decode(tokenizer, [token])
        known[token] = (first, _decode(tokenizer, [token, token])[len(first) :])
    return [known[token][position > 0] for position, token in enumerate(ids)]


def _incremental_offsets(tokenizer: Tokenizer, ids: list[int], text: str) -> list[Span]:
    """The extents of tokens that share characters, from decoding a growing window of them.

    A window closes as soon as what it decodes to stands in the text and ends in a whole character; until then each of
    its tokens reaches into the character that is being completed. It is decoded together with the window before it,
    since a leading space may depend on that, and with nothing older. Bytes that are no text close no window: a long
    run of them is halved instead, so that the cost stays near linear.
    """
    offsets: list[Span] = []
    pending: list[int] = []  # tokens whose bytes are no character yet
    known = ""
    context = first = start = reached = last = 0
    while last < len(ids):
        window = _decode(tokenizer, ids[context : last + 1])[len(known) :]
        rest = text[start : start + len(window)]
        settled = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(window, rest, strict=False)))
        begin = max(reached, start)
        reached = max(begin, start + settled)
        if window == rest:
            # Bytes that never became a character, or the last ones of a replacement character that was written: the
            # token, and those before it that seemed to begin another, add nothing to the character before them.
            shared = reached == begin and text[begin - 1 : begin] == _BROKEN
            offsets.append((begin - shared, reached))
            for token in pending if shared else ():
                offsets[token] = (min(offsets[token][0], begin - 1), reached)
            pending = []
        else:
            offsets.append((begin, min(reached + 1, len(text))))
            pending.append(last)
        last += 1
        if window == rest and not window.endswith(_BROKEN):
            context, first, start = first, last, reached
            known = _decode(tokenizer, ids[context:first])
        elif last - first == _LONGEST and last < len(ids):
            last, reached = _end_of_run(tokenizer, ids, text, (context, first), (len(known), start))
            offsets[first:] = _moved(_halved_offsets(tokenizer, ids[first:last], text[start:reached]), start)
            context, known = _context(tokenizer, ids, last, text[:reached])
            first, start, pending = last, reached, []
    return offsets


def _end_of_run(tokenizer: Tokenizer, ids: list[int], text: str, tokens: Span, characters: Span) -> tuple[int, int]:
    """Where a window closes that is longer than most, by doubling and then halving it: its end in tokens and in text.

    Args:
        tokenizer: Decodes.
        ids: All tokens.
        text: What they decode to.
        tokens: Where the window's context and the window itself begin.
        characters: How many the context decodes to, and where in the text the window begins.
    """
    (context, first), (before, start) = tokens, characters

    def closed(end: int) -> int | None:
        if end >= len(ids):
            return len(text)
        window = _decode(tokenizer, ids[context:end])[before:]
        whole = text.startswith(window, start) and not window.endswith(_BROKEN)
        return start + len(window) if whole else None

    open_at, end = first + _LONGEST, first + 2 * _LONGEST
    while (reached := closed(end)) is None:
        open_at, end = end, first + 2 * (end - first)
    end = min(end, len(ids))
    while end - open_at > 1:
        middle = (open_at + end) // 2
        found = closed(middle)
        if found is None:
            open_at = middle
        else:
            end, reached = middle, found
    return end, reached


def _context(tokenizer: Tokenizer, ids: list[int], end: int, text: str) -> tuple[int, str]:
    """The last tokens before `end` that decode to the end of the text before it: where they start and what they say."""
    for start in range(end - 1, max(end - 9, -1), -1):
        known = _decode(tokenizer, ids[start:end])
        if known and _BROKEN not in known and text.endswith(known):
            return start, known
    return end, ""


def _halved_offsets(tokenizer: Tokenizer, ids: list[int], text: str) -> list[Span]:
    """The extents of tokens that decode to a text, by cutting it where both halves still decode to it.

    Where no cut near the middle does, the tokens share the characters evenly: exact for the bytes of SentencePiece,
    of which a run is text altogether or one replacement character for each.
    """
    if len(ids) <= _LONGEST and _decode(tokenizer, ids) == text:
        return _incremental_offsets(tokenizer, ids, text)
    middle = len(ids) // 2
    for cut in range(middle, min(middle + 4, len(ids))):  # a character has at most four bytes
        left = _decode(tokenizer, ids[:cut])
        if cut and text.startswith(left) and left + _decode(tokenizer, ids[cut:]) == text:
            behind = _halved_offsets(tokenizer, ids[cut:], text[len(left) :])
            return _halved_offsets(tokenizer, ids[:cut], left) + _moved(behind, len(left))
    count, length = len(ids), len(text)
    return [(place * length // count, -(-(place + 1) * length // count)) for place in range(count)]


def _moved(offsets: list[Span], by: int) -> list[Span]:
    return [(start + by, end + by) for start, end in offsets]
