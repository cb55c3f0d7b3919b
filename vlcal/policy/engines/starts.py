"""Tokens that completions are made to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.errors import UserError
from vlcal.policy.policy import Policy


@dataclass(frozen=True)
class ForcedStarts:
    """The tokens that each completion of a batch begins with, whatever is drawn.

    A forced token takes the place of the token that was drawn there and leaves the random numbers of later tokens as
    they are: what follows is what would have followed had the same start been drawn.

    Args:
        tokens: Of each completion, padded on the right to the longest completion.
        forced: True on the tokens of each start.
        shortest: Tokens that the shortest of them has.
    """

    tokens: Int[Tensor, "N T"]
    forced: Bool[Tensor, "N T"]
    shortest: int

    @classmethod
    def of(cls, policy: Policy, starts: Sequence[Sequence[int]] | None, completions: int, length: int) -> ForcedStarts:
        """The starts of a batch.

        Args:
            policy: What continues them.
            starts: Tokens of each completion in prompt-major order, each maybe none; None where nothing is forced.
            completions: Completions of the batch.
            length: Tokens of the longest completion.

        Raises:
            UserError: If there are more or fewer starts than completions, or one cannot be continued.
        """
        given = [list(start) for start in starts] if starts is not None else [[]] * completions
        if len(given) != completions:
            raise UserError(f"`starts` must hold one start per completion, {completions}; got {len(given)}.")
        tokens = torch.full((completions, length), policy.pad_token_id)
        forced = torch.zeros(completions, length, dtype=torch.bool)
        closed = {*policy.end_tokens, *policy.placeholders}
        for row, start in enumerate(given):
            if len(start) >= length:
                raise UserError(
                    f"`starts[{row}]` must leave room below `max_new_tokens`, {length}; got {len(start)} tokens. "
                    "Raise `max_new_tokens`."
                )
            if closed.intersection(start):
                raise UserError(
                    f"`starts[{row}]` must hold neither end tokens nor placeholders of images, behind which a "
                    f"completion does not go on; got {sorted(closed.intersection(start))}."
                )
            tokens[row, : len(start)] = torch.tensor(start, dtype=torch.long)
            forced[row, : len(start)] = True
        return cls(tokens.to(policy.device), forced.to(policy.device), min(map(len, given)))

    def imposed(
        self, rows: Int[Tensor, " n"], step: int, drawn: Int[Tensor, " n"], log_probs: Float[Tensor, " n"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """What some completions write at a step: the forced token with probability 1, else the one that was drawn."""
        forced = self.forced[rows, step]
        return torch.where(forced, self.tokens[rows, step], drawn), log_probs.masked_fill(forced, 0.0)
