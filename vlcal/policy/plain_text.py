"""Questions as plain text, whatever of a tokenizer's special tokens they hold."""

from __future__ import annotations

import re
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase, ProcessorMixin

from vlcal.errors import UserError
from vlcal.text import Grammar
from vlcal.types import PromptBatch

# Of each processor its special tokens, and what finds the longest of them in a text: both cost a walk over all tokens.
_MARKS: WeakKeyDictionary[ProcessorMixin, tuple[frozenset[str], re.Pattern[str]]] = WeakKeyDictionary()


def asked(processor: ProcessorMixin, prompts: PromptBatch, grammar: Grammar) -> list[str]:
    """What each prompt asks, instructions included, with its question as plain text.

    Raises:
        UserError: If a question holds a special token that cannot be written otherwise; names the prompt.
    """
    plain = []
    for name, question in zip(prompts.ids, prompts.questions, strict=True):
        try:
            plain.append(grammar.prompt(plain_text(processor, question)))
        except UserError as error:
            raise UserError(f"prompt {name}: {error}") from error
    return plain


def plain_text(processor: ProcessorMixin, text: str) -> str:
    """The text with a space within every special token that it holds, which is then read as what it is written with.

    A question can so neither bring an image of its own, nor end its turn and begin another.

    Raises:
        UserError: If the tokenizer still reads a special token in it.
    """
    if processor not in _MARKS:
        _MARKS[processor] = _marks(processor)
    (special, pattern), plain = _MARKS[processor], text
    while pattern.search(plain):
        plain = pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", plain)
    if read := _read(processor.tokenizer, plain) & special:
        raise UserError(
            f"`question` must hold no special token; the tokenizer reads {', '.join(sorted(read))} in {text!r:.80}. "
            "Write it otherwise."
        )
    return plain


def _marks(processor: ProcessorMixin) -> tuple[frozenset[str], re.Pattern[str]]:
    """The special tokens of a tokenizer, and those that its processor replaces by others; none of a single character.

    A tokenizer that pads with `!` says no more by an exclamation mark than anyone does.
    """
    tokenizer = processor.tokenizer
    added = {str(token): token.special for token in tokenizer.added_tokens_decoder.values()}
    own = {value for value in vars(processor).values() if isinstance(value, str) and value in added}
    special = {token for token, is_special in added.items() if is_special}
    marks = frozenset(token for token in own | special | {*tokenizer.all_special_tokens} if len(token) > 1)
    longest_first = sorted(marks, key=len, reverse=True)
    return marks, re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _read(tokenizer: PreTrainedTokenizerBase, text: str) -> set[str]:
    """The tokens of a text, but for the one that stands for what is unknown."""
    ids = set(tokenizer.encode(text, add_special_tokens=False)) - {tokenizer.unk_token_id}
    return {*tokenizer.convert_ids_to_tokens(sorted(ids))}
