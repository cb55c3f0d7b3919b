"""From prompts to experience: the method as a sequence, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.advantages import AdvantageEstimator, AdvantageReweighter, GroupStandardized, VisualCertaintyReweighter
from vlcal.certainty import CertaintyEstimator, KLEntropyCertainty
from vlcal.errors import UserError
from vlcal.objectives import SamplerCorrection
from vlcal.parts import fresh_defaults, load_states, states_of
from vlcal.perturbations import PatchMask, Perturbation
from vlcal.policy import EncodedPrompts, Policy
from vlcal.record_rows import taken
from vlcal.rewards import Attempts, Reward, combine
from vlcal.training.chunks import ChunkedPrompts, joined
from vlcal.training.limits import FewerPrompts, Limits
from vlcal.training.measurement import measure, with_evidence
from vlcal.training.phases import PhaseClock
from vlcal.training.ranks import AllRanks, on_every_rank
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import SamplingPlan, draw_seed
from vlcal.training.starts import Asked
from vlcal.types import Assessment, Certainty, Evidence, Experience, PromptBatch, Responses, Rollouts


class Pipeline:
    """Samples completions, reads them, measures how certain they are of the image, and rewards them.

    Args:
        reader: Parses completions and checks their answers.
        rewards: Reward of each name; the names are the log keys.
        perturbation: Changes the image, once per prompt and copy, for the measure of visual certainty.
        certainty: Infers visual certainty from the clean and the perturbed pass.
        advantages: Turns rewards into advantages of tokens.
        reweighter: Moves advantages between the tokens of a response.
        copies: Perturbed copies per image, `K`; their KLs are averaged.
    """

    @fresh_defaults
    def __init__(
        self,
        reader: ResponseReader,
        rewards: Mapping[str, Reward],
        perturbation: Perturbation = PatchMask(),
        certainty: CertaintyEstimator = KLEntropyCertainty(),
        advantages: AdvantageEstimator = GroupStandardized(),
        reweighter: AdvantageReweighter = VisualCertaintyReweighter(),
        copies: int = 1,
    ) -> None:
        if copies < 1:
            raise UserError(f"`copies` must be at least 1, the perturbed copies of an image; got {copies}.")
        self.reader = reader
        self.rewards = dict(rewards)
        self.perturbation = perturbation
        self.certainty = certainty
        self.advantages = advantages
        self.reweighter = reweighter
        self.copies = copies
        self.clock = PhaseClock()

    @torch.no_grad()
    def collect(
        self,
        policy: Policy,
        prompts: ChunkedPrompts,
        plan: SamplingPlan,
        correction: SamplerCorrection,
        limits: Limits | None = None,
    ) -> Experience:
        """What a step learns from: rollouts, read, measured and rewarded; then their advantages, corrected.

        The reference does not appear: its KL is a term of the loss, and the `Learner` asks it where that is computed.

        Certainty and advantages, which may compare all responses of a step, are made of those of all ranks.

        Raises:
            NonFiniteError: On all ranks, if a state, a log-probability or a reward is not finite on one.
            TooLittleMemoryError: On all ranks, if what cannot be cut does not fit on one.
        """
        bounds = limits or Limits()
        rollouts, responses, evidence = on_every_rank(lambda: self._measured(policy, prompts, plan, bounds))
        width = rollouts.tokens.shape[1]
        ranks = AllRanks(len(prompts.prompts), plan.group_size, policy.device)
        step = ranks.joined(rollouts)
        certainty = ranks.own(self.certainty(ranks.joined(evidence), step, ranks.joined(responses)), width)
        assessment = on_every_rank(lambda: self._rewarded(prompts.prompts, rollouts, responses, evidence, certainty))
        advantages = ranks.own(self._advantages(ranks.joined(assessment.rewards.total), step), width)
        earned = advantages * rollouts.chosen
        reweighted = self.reweighter(earned, assessment.certainty, assessment.responses)
        weights = correction(evidence.log_probs, rollouts.log_probs, rollouts.chosen)
        return Experience(assessment, reweighted * weights)

    @torch.no_grad()
    def assess(
        self, policy: Policy, prompts: ChunkedPrompts, plan: SamplingPlan, limits: Limits | None = None
    ) -> Assessment:
        """Completions, what they say, how certain they are and what they earn: all that a validation needs.

        What needs the model goes chunk by chunk. Certainty, which may compare all responses of a step, and rewards do
        not, so that no number depends on how the step is cut.

        Args:
            policy: What writes, not in training mode: dropout would make the passes over a completion disagree.
            prompts: The prompts, in chunks.
            plan: How completions are sampled.
            limits: What goes through the model at once; all where it is left out.
        """
        rollouts, responses, evidence = self._measured(policy, prompts, plan, limits or Limits())
        certainty = self.certainty(evidence, rollouts, responses)
        return self._rewarded(prompts.prompts, rollouts, responses, evidence, certainty)

    def _measured(
        self, policy: Policy, prompts: ChunkedPrompts, plan: SamplingPlan, limits: Limits
    ) -> tuple[Rollouts, Responses, Evidence]:
        """The completions, read, with what is measured on their tokens."""
        measured = [self._of_chunk(policy, prompts, chunk, plan, limits) for chunk in prompts.chunks(prompts.all)]
        rollouts, responses, evidence = (joined(parts) for parts in zip(*measured, strict=True))
        tokens = rollouts.tokens.masked_fill(~rollouts.mask, policy.pad_token_id)
        return replace(rollouts, tokens=tokens), responses, evidence

    def _rewarded(
        self, prompts: PromptBatch, rollouts: Rollouts, responses: Responses, evidence: Evidence, certainty: Certainty
    ) -> Assessment:
        rewards = combine(self.rewards, Attempts(prompts, rollouts, responses, certainty))
        return Assessment(prompts, rollouts, responses, evidence, certainty, rewards)

    def _advantages(self, rewards: Float[Tensor, " N"], rollouts: Rollouts) -> Float[Tensor, "N T"]:
        """The advantage of every token of the policy's own completions; 0 in counterfactual ones."""
        rows = (~rollouts.counterfactual).nonzero()[:, 0]
        prompts = len(rollouts) // rollouts.group_size
        own = replace(taken(replace(rollouts, group_size=1), rows.tolist()), group_size=len(rows) // prompts)
        advantages = torch.zeros_like(rollouts.log_probs)
        advantages[rows] = self.advantages(rewards[rows], own)
        return advantages

    def _of_chunk(
        self, policy: Policy, prompts: ChunkedPrompts, chunk: list[int], plan: SamplingPlan, limits: Limits
    ) -> tuple[Rollouts, Responses, Evidence]:
        """The completions of one chunk, read, with what is measured on their tokens."""
        asked, encoded = prompts.prompts.select(chunk), limits.retried(lambda: prompts.encoded(chunk))
        with self.clock.phase("sampling"):
            rollouts = self._sampled(policy, asked, encoded, replace(plan, engine=FewerPrompts(plan.engine, limits)))
        responses = self.reader.read(policy, asked, rollouts)
        vision, evident, temperature = responses.spans.vision, with_evidence(asked), plan.engine.temperature
        something = policy.lockstep.any(bool(vision.any() and evident.any() and self.perturbation.strength > 0))
        copies = [self.perturbed(policy, asked, plan.seed, number) for number in range(self.copies if something else 0)]
        perturbed = limits.retried(lambda: [policy.encode(copy, self.reader.grammar) for copy in copies])
        with self.clock.phase("scoring"):
            evidence = limits.retried(
                lambda: measure(policy, encoded, perturbed, rollouts, vision, evident, temperature, limits)
            )
        return rollouts, responses, evidence

    def _sampled(self, policy: Policy, prompts: PromptBatch, encoded: EncodedPrompts, plan: SamplingPlan) -> Rollouts:
        """The completions of one chunk."""
        grammar = self.reader.grammar

        def perturbed() -> EncodedPrompts:  # of a draw of its own, so that the measure does not know the reading
            return policy.encode(self.perturbed(policy, prompts, plan.seed, self.copies), grammar)

        def seeds(what: str) -> list[int]:
            return [draw_seed(plan.seed, what, name) for name in prompts.ids]

        asked = Asked(policy, encoded, plan.engine, seeds, grammar, perturbed)
        return plan.starts.sample(asked, plan.group_size)

    def perturbed(self, policy: Policy, prompts: PromptBatch, seed: int, number: int) -> PromptBatch:
        """The prompts with perturbed images; one draw per prompt, so that a whole group is measured alike."""
        perturbed = []
        for name, images in zip(prompts.ids, prompts.images, strict=True):
            rng = torch.Generator().manual_seed(draw_seed(seed, "perturbation", name, str(number)))
            perturbed.append(tuple(self.perturbation(image, rng, policy.grid(image)) for image in images))
        return prompts.with_images(tuple(perturbed))

    @contextmanager
    def preserve_state(self) -> Iterator[None]:
        """A context for validation: what parts remember from training is put back afterwards."""
        before = copy.deepcopy(self.state_dict())
        try:
            yield
        finally:
            self.load_state_dict(before)

    def state_dict(self) -> dict[str, Any]:
        """What parts remember between steps, by their names; empty for most pipelines."""
        return states_of(self._parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let parts remember again; one that was put in since starts with no memory."""
        load_states(self._parts(), state)

    def _parts(self) -> dict[str, object]:
        """Every part that a step calls, by its name in a checkpoint."""
        return {
            "reader.verifier": self.reader.verifier,
            "reader.oracle": self.reader.oracle,
            "perturbation": self.perturbation,
            "certainty": self.certainty,
            "advantages": self.advantages,
            "reweighter": self.reweighter,
            **{f"rewards.{name}": reward for name, reward in self.rewards.items()},
        }
