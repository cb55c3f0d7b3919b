"""From experience to the loss of one update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.errors import UserError
from vlcal.objectives import (
    ClippedSurrogate,
    ConfidenceObjective,
    NoCorrection,
    PolicyObjective,
    Predictions,
    ReferenceKL,
    SampledConfidence,
    SampledReferenceKL,
    SamplerCorrection,
)
from vlcal.parts import fresh_defaults
from vlcal.policy import AdapterOff, Continuations, EncodedPrompts, MicroBatch, Policy, Reference
from vlcal.training.chunks import ChunkedPrompts, cut
from vlcal.training.limits import Limits
from vlcal.training.ranks import from_all, summed
from vlcal.training.reader import ResponseReader
from vlcal.types import Experience, PolicyUpdate, Responses


class Update:
    """The terms of the loss, and how an experience is cut into updates and passes.

    Args:
        objective: Term on the tokens of a response.
        confidence: How the stated confidences are learned.
        reference_kl: Term that holds the policy close to the reference.
        reference: What the policy is held close to.
        correction: What is done about completions that were sampled with other probabilities than are learned on.
        minibatch_prompts: Prompts whose groups go into one update; fewer than a batch has means several updates.
        token_budget: Tokens that go through the model at once, prompts and completions together. Memory follows it;
            what is learned does not. A group that is longer is cut. It is halved where memory runs out.
    """

    @fresh_defaults
    def __init__(
        self,
        objective: PolicyObjective = ClippedSurrogate(),
        confidence: ConfidenceObjective = SampledConfidence(),
        reference_kl: ReferenceKL = SampledReferenceKL(),
        reference: Reference = AdapterOff(),
        correction: SamplerCorrection = NoCorrection(),
        minibatch_prompts: int = 1_000_000,
        token_budget: int = 16384,
    ) -> None:
        if minibatch_prompts < 1:
            raise UserError(
                f"`minibatch_prompts` must be at least 1, or nothing is learned from; got {minibatch_prompts}."
            )
        if token_budget < 1:
            raise UserError(f"`token_budget` must be at least 1 token, or nothing passes; got {token_budget}.")
        self.objective = objective
        self.confidence = confidence
        self.reference_kl = reference_kl
        self.reference = reference
        self.correction = correction
        self.minibatch_prompts = minibatch_prompts
        self.token_budget = token_budget

    def minibatches(self, prompts: int) -> list[list[int]]:
        """The prompts of each update, in their order; on all ranks as many updates, some of them maybe of no prompt."""
        own = cut(list(range(prompts)), self.minibatch_prompts)
        most = max(from_all(len(own)))
        return own + [[] for _ in range(most - len(own))]


@dataclass(frozen=True)
class Passes:
    """The passes of an update, computed one after the other each time that they are gone through.

    Args:
        made: Computes them.
    """

    made: Callable[[], Iterator[PolicyUpdate]]

    def __iter__(self) -> Iterator[PolicyUpdate]:
        return self.made()


@dataclass(frozen=True)
class Learner:
    """Computes the loss of an update, in as many passes as chunks and token budget ask for.

    Args:
        policy: What learns.
        reader: How responses are read: the levels of a confidence, and how two become one.
        update: The terms of the loss.
        temperature: The completions were sampled at.
        limits: What goes through the model at once; by default the token budget of the update.
    """

    policy: Policy
    reader: ResponseReader
    update: Update
    temperature: float
    limits: Limits | None = None

    def passes(self, experience: Experience, prompts: ChunkedPrompts, rows: list[int]) -> Passes:
        """The losses of all passes; over all ranks they add up to that of the whole, and so do the metrics of them.

        They may be gone through again, in other passes once limits have changed. A metric that is no part of a loss,
        such as the share of tokens that were clipped, is averaged alike.

        Args:
            experience: Of the step.
            prompts: Of the step.
            rows: The prompts of this update, by index in ascending order.
        """
        learned = experience.select(rows)
        totals = summed(self._counts(learned, self._policy_mask(learned)))
        limits = self.limits or Limits(self.update.token_budget)

        def made() -> Iterator[PolicyUpdate]:
            chunks = prompts.chunks(rows)
            for chunk in chunks:
                yield from self._passes(experience.select(chunk), prompts.encoded(chunk), totals, limits)
            for _ in range(self.policy.lockstep.most(len(chunks)) - len(chunks)):  # others would wait for the passes
                yield from self._passes(experience.select([0]), prompts.encoded([0]), [], limits)

        return Passes(made)

    def _passes(
        self, experience: Experience, encoded: EncodedPrompts, totals: Sequence[int], limits: Limits
    ) -> Iterator[PolicyUpdate]:
        """The losses of a chunk, as shares of what each term is a mean over; of no share where no totals are given."""
        policy_mask, rollouts = self._policy_mask(experience), experience.assessment.rollouts
        completions = Continuations.of(encoded, rollouts.tokens, rollouts.mask)
        for part in limits.parts(self.policy, completions):
            held, held_mask = experience.completions(part.rows), policy_mask[part.rows]
            counts = self._counts(held, held_mask)
            whole = totals if totals and not part.repeated else [math.inf] * len(counts)
            shares = [own / max(total, 1) for own, total in zip(counts, whole, strict=True)]
            yield _joined(self._terms(held, self._with_gradient(part, experience), held_mask), shares)

    def _policy_mask(self, experience: Experience) -> Bool[Tensor, "N T"]:
        """The tokens that the policy objective may move."""
        rollouts = experience.assessment.rollouts
        mask = self.policy.scorable_mask(rollouts.tokens, rollouts.chosen)
        mask = mask & ~rollouts.counterfactual[:, None]
        return self.update.confidence.policy_mask(mask, experience.assessment.responses)

    def _counts(self, experience: Experience, policy_mask: Bool[Tensor, "N T"]) -> list[int]:
        """What each term is a mean over."""
        assessment = experience.assessment
        return [
            self.update.objective.count(policy_mask),
            *self.update.confidence.counts(assessment.responses, assessment.certainty),
            self.update.reference_kl.count(policy_mask),
        ]

    def _with_gradient(self, part: MicroBatch, experience: Experience) -> MicroBatch:
        """The part with its images encoded anew where the vision tower learns, each pass with a graph of its own."""
        if self.policy.vision_frozen:
            return part
        prompts = experience.assessment.prompts.select(part.prompts)
        return replace(part, encoded=self.policy.encode(prompts, self.reader.grammar))

    def _terms(self, held: Experience, part: MicroBatch, policy_mask: Bool[Tensor, "n T"]) -> list[PolicyUpdate]:
        """Every term of the loss of these completions, from one pass of the policy and at most one of the reference."""
        predicted = self._predicted(self.policy, part)
        old = held.assessment.evidence.log_probs
        return [
            self.update.objective(predicted.log_probs, old, held.advantages, policy_mask),
            *self._confidence_terms(held, predicted.hidden),
            self._reference_term(part, predicted, policy_mask),
        ]

    def _predicted(self, model: Policy, part: MicroBatch) -> Predictions:
        scorable_mask = model.scorable_mask(part.tokens, part.mask)
        return Predictions(model.hidden(part), model.head, part.tokens, scorable_mask, self.temperature)

    def _confidence_terms(self, held: Experience, hidden: Float[Tensor, "n T D"]) -> Sequence[PolicyUpdate]:
        if not self.update.confidence.needs_levels:
            return ()
        responses, certainty = held.assessment.responses, held.assessment.certainty
        levels, overall = self.reader.confidence_levels(hidden.device)
        tokens = self.policy.level_tokens(self.reader.grammar)
        log_probs = level_log_probs(self.policy, hidden, responses, tokens)
        return self.update.confidence(log_probs, levels, overall, responses, certainty)

    def _reference_term(
        self, part: MicroBatch, predicted: Predictions, policy_mask: Bool[Tensor, "n T"]
    ) -> PolicyUpdate:
        if not self.update.reference_kl.needs_reference:
            return PolicyUpdate(loss=predicted.hidden.new_zeros(()), stats={})
        return self.update.reference_kl(predicted, self._reference(part), policy_mask)

    @torch.no_grad()
    def _reference(self, part: MicroBatch) -> Predictions:
        with self.update.reference.model(self.policy) as reference:
            return self._predicted(reference, part)


def level_log_probs(
    policy: Policy, hidden: Float[Tensor, "N T D"], responses: Responses, levels: Int[Tensor, "2 L"]
) -> Float[Tensor, "N 2 L"]:
    """Log-probabilities of the level tokens, at the visual and at the reasoning confidence.

    0 throughout, with a gradient of 0, where a confidence is absent.
    """
    columns = []
    spans = (responses.spans.visual_confidence, responses.spans.reasoning_confidence)
    for span, tokens in zip(spans, levels, strict=True):
        at = hidden[torch.arange(len(hidden), device=hidden.device), span.int().argmax(1)]
        log_probs = policy.head(at).float().log_softmax(-1)[:, tokens]
        columns.append(log_probs.masked_fill(~span.any(1, keepdim=True), 0.0))
    return torch.stack(columns, 1)


def _joined(updates: Sequence[PolicyUpdate], shares: Sequence[float]) -> PolicyUpdate:
    """Several losses as one, each weighted by its share; a metric of what has no share is left out."""
    weighted = list(zip(shares, updates, strict=True))
    return PolicyUpdate(
        loss=torch.stack([share * update.loss for share, update in weighted]).sum(),
        stats={name: share * value for share, update in weighted if share for name, value in update.stats.items()},
    )
