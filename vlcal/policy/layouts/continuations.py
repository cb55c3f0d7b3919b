"""Completions behind their prompts: what a forward pass is given, whole or in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vlcal.policy.layouts.encoded import EncodedPrompts


@dataclass(frozen=True)
class Continuations:
    """Completions behind their prompts.

    Args:
        encoded: The prompts.
        tokens: Completion tokens, padded on the right.
        mask: True on the tokens of each completion.
        prompt_index: Index of the prompt that each completion continues, ascending.
    """

    encoded: EncodedPrompts
    tokens: Int[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    prompt_index: Int[Tensor, " N"]

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
    """

    rows: Int[Tensor, " N"]
    prompts: list[int]
