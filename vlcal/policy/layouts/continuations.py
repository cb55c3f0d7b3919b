"""Completions behind their prompts: what a forward pass is given, whole or in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vlcal.errors import UserError
from vlcal.policy.layouts.encoded import EncodedPrompts


@dataclass(frozen=True)
class Continuations:
    """Completions behind their prompts.

    Args:
        encoded: The prompts.
        tokens: Completion tokens, padded on the right.
        mask: True on the tokens of each completion, which are the first of its row: what lies behind its end is
            padding. A token that shall be hidden from the model is a matter for `MaskedPrefixLayout`; one that shall
            not count is left out of what is made of the hidden states.
        prompt_index: Index of the prompt that each completion continues, ascending.

    Raises:
        UserError: If a mask has a hole, since no layout could lay out such a row as it is meant.
    """

    encoded: EncodedPrompts
    tokens: Int[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    prompt_index: Int[Tensor, " N"]

    def __post_init__(self) -> None:
        holes = (self.mask[:, 1:] & ~self.mask[:, :-1]).any(1)
        if holes.any():
            raise UserError(
                f"`Continuations.mask` must be True on the first tokens of a completion and nowhere else; that of "
                f"completion {int(holes.int().argmax())} has a hole. Pass the mask of the whole completion and leave "
                "tokens out of what comes back, or hide them from the model with `MaskedPrefixLayout`."
            )

    @classmethod
    def of(cls, encoded: EncodedPrompts, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Continuations:
        """Groups of equal size in prompt-major order: row `p * G + g` continues prompt `p`."""
        prompts = torch.arange(len(encoded), device=tokens.device)
        return Continuations(encoded, tokens, mask, prompts.repeat_interleave(len(tokens) // len(encoded)))

    def select(self, rows: Sequence[int]) -> MicroBatch:
        """The completions at `rows`, in ascending order, with the prompts that they continue."""
        chosen = torch.tensor(rows, device=self.tokens.device)
        prompts, prompt_index = torch.unique(self.prompt_index[chosen], return_inverse=True)
        return MicroBatch(
            encoded=self.encoded.select(prompts.tolist()),
            tokens=self.tokens[chosen],
            mask=self.mask[chosen],
            prompt_index=prompt_index,
            rows=chosen,
            prompts=prompts.tolist(),
        )


@dataclass(frozen=True)
class MicroBatch(Continuations):
    """Some continuations of a batch, each prompt once.

    Args:
        rows: Indices of the completions in the batch, ascending.
        prompts: Indices of the prompts in the batch, ascending.
        repeated: Whether another part is the same, and this one passes for the sake of other ranks alone.
    """

    rows: Int[Tensor, " N"]
    prompts: list[int]
    repeated: bool = False

    def __post_init__(self) -> None:
        """Nothing: the batch was checked, and a check of every part would make a GPU wait each time."""
