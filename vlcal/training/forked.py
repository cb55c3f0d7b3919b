"""Forked groups: several continuations of one reading."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vlcal.errors import UserError
from vlcal.policy import Policy
from vlcal.policy.engines.base import written
from vlcal.text import Grammar, parse
from vlcal.text.grammar import CLOSING
from vlcal.text.spans import tokens_up_to
from vlcal.training.starts import Asked, FreeStarts, Starts, side_by_side
from vlcal.types import Rollouts


class ForkedReadings(Starts):
    """Samples fewer readings and continues each of them several times, so that luck in seeing and in concluding differ.

    Of R = G / C completions that are sampled freely, each is continued C - 1 more times from the end of its reading: C
    independent continuations of the same reading, the first of them the one it was sampled in. They stand side by side
    in their group; `Rollouts.shared` marks what they share, `Rollouts.forced` where it was given. All of them are what
    the policy does, so metrics count them; the reading is credited once, where it was sampled. A completion that ends
    before its vision part does has no reading to continue, and its place is filled with completions sampled freely.

    Whether a reading is continued follows from its own tokens alone, never from how it went on: else the continuations
    would be a selection. Made for `ForkedAdvantages` and `ForkedCertainty`.

    Args:
        continuations: Continuations of each reading, `C`, at least 2; divides the group into at least two readings.
    """

    def __init__(self, continuations: int = 2) -> None:
        if continuations < 2:
            raise UserError(
                f"`continuations` must be at least 2, since one has no sibling; got {continuations}. Use FreeStarts to "
                "continue none."
            )
        self.continuations = continuations

    def check(self, group_size: int) -> None:
        """Refuse a group that is not made of at least two readings of as many continuations each."""
        if group_size % self.continuations or group_size < 2 * self.continuations:
            raise UserError(
                f"`group_size` must be a multiple of `starts.continuations`, and at least twice as large; got "
                f"{group_size} for {self.continuations}."
            )

    def sample(self, asked: Asked, group_size: int) -> Rollouts:
        """Readings in the order they were sampled in, the continuations of each side by side."""
        first = FreeStarts().sample(asked, group_size // self.continuations)
        rows = zip(first.tokens, first.mask, strict=True)
        lengths = [_length(asked.policy, tokens, mask, asked.grammar) for tokens, mask in rows]
        starts = [
            tokens[:length].tolist()
            for tokens, length in zip(first.tokens, lengths, strict=True)
            for _ in range(self.continuations - 1)
        ]
        size = group_size - first.group_size
        later = asked.engine.sample(asked.policy, asked.encoded, size, asked.seeds("continuation"), starts)
        place = torch.arange(first.tokens.shape[1], device=first.tokens.device)
        shared = place < torch.tensor(lengths, device=place.device)[:, None]
        forks = side_by_side(
            replace(first, shared=shared, group_size=1),
            replace(later, shared=later.forced, group_size=self.continuations - 1),
        )
        return replace(forks, group_size=group_size)


def _length(policy: Policy, tokens: Int[Tensor, " T"], mask: Bool[Tensor, " T"], grammar: Grammar) -> int:
    """Tokens up to the end of the vision part; 0 where there is none, or no room behind it.

    A token that reaches across the closing tag is left to be sampled.
    """
    text, offsets = written(policy, tokens, mask)
    closing = CLOSING["vision"]
    end = text.find(closing) + len(closing)
    if closing not in text or parse(text[:end], grammar).vision is None:
        return 0
    length = tokens_up_to(offsets, end)
    return length if length < len(tokens) else 0
