"""The tokens of confidence levels, as a response writes them: between an opening and a closing tag."""

from __future__ import annotations

from typing import Protocol

from vlcal.errors import UserError
from vlcal.text.grammar import CONFIDENCES, OPENING, Grammar


class Encoder(Protocol):
    """Whatever turns text into token ids, as every tokenizer of transformers does."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The tokens of the text."""
        ...


def spelled_levels(tokenizer: Encoder, grammar: Grammar, name: str) -> list[tuple[int, ...]]:
    """The tokens of each level behind the tag of one confidence.

    Alone, a level may have other tokens: many tokenizers put a space in front of every text.

    Args:
        tokenizer: Of the policy.
        grammar: Its levels.
        name: The confidence, one of `CONFIDENCES`.

    Raises:
        UserError: If the tokenizer joins a level to a tag, or has the same tokens for two levels.
    """
    tag = OPENING[name]
    closing = tag.replace("<", "</", 1)
    ahead = _encode(tokenizer, tag)
    stated = [_encode(tokenizer, f"{tag}{level}") for level in grammar.levels]
    closed = [_encode(tokenizer, f"{tag}{level}{closing}") for level in grammar.levels]
    joined = [
        level
        for level, tokens, more in zip(grammar.levels, stated, closed, strict=True)
        if tokens[: len(ahead)] != ahead or more[: len(tokens)] != tokens
    ]
    if joined:
        raise UserError(
            f"`grammar.levels` must be tokens of their own between {tag} and {closing}, or the distribution over them "
            f"is unknown; this tokenizer joins {joined} to a tag. Leave them out, or use another tokenizer."
        )
    spelled = [tokens[len(ahead) :] for tokens in stated]
    if len(set(spelled)) < len(spelled):
        alike = [level for level, tokens in zip(grammar.levels, spelled, strict=True) if spelled.count(tokens) > 1]
        raise UserError(
            f"`grammar.levels` must have different tokens; this tokenizer has the same ones for {alike}. Leave them "
            "out, or use another tokenizer."
        )
    return spelled


def level_tokens(tokenizer: Encoder, grammar: Grammar) -> list[list[int]]:
    """The token of each level, one row per confidence of `CONFIDENCES`.

    Raises:
        UserError: If the tokenizer splits a level, or `spelled_levels` refuses it.
    """
    rows = [spelled_levels(tokenizer, grammar, name) for name in CONFIDENCES]
    split = [level for level, *ways in zip(grammar.levels, *rows, strict=True) if any(len(way) != 1 for way in ways)]
    if split:
        raise UserError(
            f"`grammar.levels` must be one token each to take an expectation over them; this tokenizer splits {split}. "
            "Leave them out, or use SampledConfidence in place of ExpectedScore."
        )
    return [[token for (token,) in spelled] for spelled in rows]


def _encode(tokenizer: Encoder, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False))
