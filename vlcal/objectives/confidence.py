"""The family of confidence objectives and its null member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.types import Certainty, PolicyUpdate, Responses


class ConfidenceObjective(ABC):
    """Says how the stated confidences are learned: through sampled rewards, or by a loss of their own."""

    @property
    @abstractmethod
    def needs_levels(self) -> bool:
        """True where the loss asks for the log-probabilities of every level at the two confidences."""

    @abstractmethod
    def policy_mask(self, mask: Bool[Tensor, "N T"], responses: Responses) -> Bool[Tensor, "N T"]:
        """The tokens that are left for the policy objective to move."""

    @abstractmethod
    def __call__(
        self,
        level_log_probs: Float[Tensor, "N 2 L"],
        levels: Float[Tensor, " L"],
        overall: Float[Tensor, "L L"],
        responses: Responses,
        certainty: Certainty,
    ) -> Sequence[PolicyUpdate]:
        """The terms of the loss with their metrics, each a mean over the responses that it is about.

        Args:
            level_log_probs: Of the L level tokens at the visual and at the reasoning confidence, in this order; each
                row sums to the probability that a level is stated at all.
            levels: The confidence in [0, 1] that each level stands for.
            overall: The overall confidence of each pair of a visual (rows) and a reasoning level, as it is read.
            responses: What was sampled and whether it is right.
            certainty: The soft labels the visual confidence is held against.
        """

    @abstractmethod
    def counts(self, responses: Responses, certainty: Certainty) -> Sequence[int]:
        """What each term is a mean over: parts of a batch, weighted by it, add up to the term of the whole."""


class SampledConfidence(ConfidenceObjective):
    """Leaves the confidences to the sampled rewards, as every other token; as published. The null member."""

    needs_levels = False

    def policy_mask(self, mask: Bool[Tensor, "N T"], responses: Responses) -> Bool[Tensor, "N T"]:
        """The mask: the policy objective moves every token."""
        return mask

    def __call__(
        self,
        level_log_probs: Float[Tensor, "N 2 L"],
        levels: Float[Tensor, " L"],
        overall: Float[Tensor, "L L"],
        responses: Responses,
        certainty: Certainty,
    ) -> Sequence[PolicyUpdate]:
        """No term."""
        return ()

    def counts(self, responses: Responses, certainty: Certainty) -> Sequence[int]:
        """None."""
        return ()
