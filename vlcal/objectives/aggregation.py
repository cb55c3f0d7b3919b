"""How the losses of many tokens become one number: which of them count alike."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.surrogate import sequence_mean_token_mean, sequence_mean_token_sum_norm, token_mean


class LossAggregation(ABC):
    """Reduces token losses to a scalar; 0 with zero gradient where nothing counts."""

    @abstractmethod
    def __call__(self, losses: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, ""]:
        """One loss out of all tokens in the mask."""

    @abstractmethod
    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """What the loss is a mean over: parts of a batch, weighted by it, add up to the loss of the whole."""


class TokenMean(LossAggregation):
    """Every token counts alike, so that a long completion counts for more."""

    def __call__(self, losses: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, ""]:
        """The mean over all tokens in the mask."""
        return token_mean(losses, mask)

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """Tokens."""
        return int(mask.sum())


class SequenceMeanTokenMean(LossAggregation):
    """Every completion counts alike, so that a token of a long one counts for less."""

    def __call__(self, losses: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, ""]:
        """The mean over completions of the mean over their tokens."""
        return sequence_mean_token_mean(losses, mask)

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """Completions with a token that counts."""
        return int(mask.any(1).sum())


class SequenceMeanTokenSumNorm(LossAggregation):
    """The sum of each completion over one fixed length, averaged: no preference for any length.

    Args:
        length: What each completion's sum is divided by, in tokens; usually the longest completion allowed.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise UserError(f"`length` must be at least 1 token, since sums are divided by it; got {length}.")
        self.length = length

    def __call__(self, losses: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, ""]:
        """The mean over completions of the sum over their tokens, over the length."""
        return sequence_mean_token_sum_norm(losses, mask, self.length)

    def count(self, mask: Bool[Tensor, "N T"]) -> int:
        """Completions."""
        return len(mask)
