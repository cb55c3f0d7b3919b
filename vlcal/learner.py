"""From experience to the loss of one update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.functional.vocabulary import token_statistics
from vlcal.objectives import ConfidenceObjective, PolicyObjective
from vlcal.pipeline import level_log_probs
from vlcal.policy import EncodedPrompts, MicroBatch, Policy, Reference
from vlcal.text import Grammar
from vlcal.types import Experience, PolicyUpdate


@dataclass(frozen=True)
class Learner:
    """Computes the loss of an update, in as many passes as the token budget asks for.

    Args:
        policy: What learns.
        objective: Loss on the tokens of a response.
        confidence: How the stated confidences are learned.
        reference: What the policy is held close to.
        grammar: Of the prompts and responses.
        temperature: The completions were sampled at.
        budget: Tokens that go through the model at once.
    """

    policy: Policy
    objective: PolicyObjective
    confidence: ConfidenceObjective
    reference: Reference
    grammar: Grammar
    temperature: float
    budget: int

    def passes(self, experience: Experience, encoded: EncodedPrompts) -> Iterator[PolicyUpdate]:
        """The updates of all passes; their losses add up to that of the whole, and so do the figures they are made of.

        A figure that is no part of a loss, such as the share of tokens that were clipped, is averaged alike.
        """
        movable = self._movable(experience)
        whole = self._counts(experience, movable)
        for part in self.policy.micro_batches(encoded, experience.rollouts.mask, self.budget):
            held, moved = experience.completions(part.rows), movable[part.rows]
            shares = [own / max(all_, 1) for own, all_ in zip(self._counts(held, moved), whole, strict=True)]
            yield _joined(self._updates(held, self._with_gradient(part, experience), moved), shares)

    def _movable(self, experience: Experience) -> Bool[Tensor, "N T"]:
        """The tokens that the policy objective may move."""
        rollouts = experience.rollouts
        mask = self.policy.countable(rollouts.tokens, rollouts.mask)
        return self.confidence.policy_mask(mask, experience.responses)

    def _counts(self, experience: Experience, movable: Bool[Tensor, "N T"]) -> list[int]:
        """What each of the three losses is a mean over."""
        return [self.objective.count(movable), self.confidence.count(experience.responses), int(movable.sum())]

    def _with_gradient(self, part: MicroBatch, experience: Experience) -> MicroBatch:
        """The part with its images encoded anew where the vision tower learns, each pass with a graph of its own."""
        if self.policy.vision_frozen:
            return part
        return replace(part, encoded=self.policy.encode(experience.prompts.select(part.prompts), self.grammar))

    def _updates(self, held: Experience, part: MicroBatch, movable: Bool[Tensor, "n T"]) -> list[PolicyUpdate]:
        tokens, mask = held.rollouts.tokens, held.rollouts.mask
        hidden = self.policy.hidden(part.encoded, tokens, mask, part.owners)
        countable = self.policy.countable(tokens, mask)
        log_probs, _ = token_statistics(hidden, self.policy.head, tokens, countable, self.temperature)
        old, reference = held.evidence.log_probs, held.reference_log_probs
        return [
            self.objective(log_probs, old, reference, held.advantages, movable),
            self._confidence_update(held, hidden),
            self._anchor(held, part, hidden, movable),
        ]

    def _confidence_update(self, held: Experience, hidden: Float[Tensor, "n T D"]) -> PolicyUpdate:
        if not self.confidence.needs_levels:
            return PolicyUpdate(loss=hidden.new_zeros(()), stats={})
        levels = torch.tensor([self.grammar.confidence(level) for level in self.grammar.levels], device=hidden.device)
        log_probs = level_log_probs(self.policy, hidden, held.responses, self.policy.level_tokens(self.grammar))
        return self.confidence(log_probs, levels, held.responses, held.certainty)

    def _anchor(
        self, held: Experience, part: MicroBatch, hidden: Float[Tensor, "n T D"], movable: Bool[Tensor, "n T"]
    ) -> PolicyUpdate:
        if not self.reference.anchor:
            return PolicyUpdate(loss=hidden.new_zeros(()), stats={})
        rollouts = held.rollouts
        divergence = self.reference.divergence(
            self.policy, hidden, part.encoded, rollouts.tokens, rollouts.mask, movable, part.owners
        )
        return PolicyUpdate(
            loss=self.reference.anchor * divergence, stats={"reference_divergence": float(divergence.detach())}
        )


def _joined(updates: Sequence[PolicyUpdate], shares: Sequence[float]) -> PolicyUpdate:
    """Several losses as one, each weighted by its share; a figure of what has no share is left out."""
    weighted = list(zip(shares, updates, strict=True))
    return PolicyUpdate(
        loss=torch.stack([share * update.loss for share, update in weighted]).sum(),
        stats={name: share * value for share, update in weighted if share for name, value in update.stats.items()},
    )
