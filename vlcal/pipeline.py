"""From prompts to experience: the order of the arrows, and nothing else."""

from __future__ import annotations

import copy
import hashlib
from abc import ABCMeta
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.advantages import AdvantageEstimator, AdvantageReweighter, GroupStandardized, VisualCertaintyReweighter
from vlcal.certainty import CertaintyEstimator, KLEntropyCertainty
from vlcal.functional.vocabulary import token_statistics, vocabulary_kl
from vlcal.perturbations import PatchMask, Perturbation
from vlcal.policy import EncodedPrompts, MicroBatch, Policy, RolloutEngine
from vlcal.policy.micro_batch import UNLIMITED
from vlcal.reader import ResponseReader
from vlcal.rewards import Reward, combine
from vlcal.types import Evidence, Experience, PromptBatch, Responses, Rollouts


class Pipeline:
    """Samples completions, reads them, measures how sure they are of the image, and rewards them.

    Args:
        reader: Parses and judges completions.
        rewards: Reward of each name; the names are the log keys.
        perturbation: Spoils the image, once per prompt and copy, for the measure of visual certainty.
        certainty: Infers visual certainty from the clean and the perturbed pass.
        advantages: Turns rewards into advantages.
        reweighter: Moves advantages between the tokens of a response.
        copies: Perturbed copies per image, `K`; their KLs are averaged.
    """

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
            raise ValueError(f"`copies` must be at least 1, the perturbed copies of an image; got {copies}.")
        self.reader = reader
        self.rewards = dict(rewards)
        self.perturbation = perturbation
        self.certainty = certainty
        self.advantages = advantages
        self.reweighter = reweighter
        self.copies = copies

    @torch.no_grad()
    def judge(
        self,
        policy: Policy,
        prompts: PromptBatch,
        encoded: EncodedPrompts,
        engine: RolloutEngine,
        group_size: int,
        seed: int,
        budget: int = UNLIMITED,
    ) -> Experience:
        """Completions, what they say, how certain they are and what they earn; no advantages yet."""
        rollouts = engine.sample(policy, encoded, group_size, draw_seed(seed, "rollout", *prompts.ids))
        responses = self.reader.read(policy, prompts, rollouts)
        perturbed = [
            policy.encode(self.perturbed(policy, prompts, seed, number), self.reader.grammar)
            for number in range(self.copies if responses.spans.vision.any() else 0)
        ]
        evidence = measure(policy, encoded, perturbed, rollouts, responses.spans.vision, engine.temperature, budget)
        certainty = self.certainty(evidence, rollouts, responses)
        return Experience(
            prompts=prompts,
            rollouts=rollouts,
            responses=responses,
            evidence=evidence,
            certainty=certainty,
            rewards=combine(self.rewards, responses, certainty, group_size),
            advantages=torch.zeros_like(evidence.log_probs),
            reference_log_probs=None,
        )

    def credit(self, experience: Experience) -> Experience:
        """The experience with the advantage of every token."""
        advantages = self.advantages(experience.rewards.total, experience.rollouts.group_size)
        per_token = advantages[:, None] * experience.rollouts.mask
        return replace(experience, advantages=self.reweighter(per_token, experience.certainty, experience.responses))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """A context for validation: what a part remembers from training is put back afterwards."""
        learned, self.certainty = self.certainty, copy.deepcopy(self.certainty)
        try:
            yield
        finally:
            self.certainty = learned

    def state_dict(self) -> dict[str, Any]:
        """What parts remember between steps, by where they stand; empty for most pipelines."""
        return {where: part.state_dict() for where, part in _remembering(self, "")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let parts remember again; one that was put in since starts with no memory."""
        for where, part in _remembering(self, ""):
            if where in state:
                part.load_state_dict(state[where])

    def perturbed(self, policy: Policy, prompts: PromptBatch, seed: int, number: int) -> PromptBatch:
        """The prompts with spoiled images; one draw per prompt, so that a whole group is measured alike."""
        spoiled = []
        for name, images in zip(prompts.ids, prompts.images, strict=True):
            rng = torch.Generator().manual_seed(draw_seed(seed, "perturbation", name, str(number)))
            spoiled.append(tuple(self.perturbation(image, rng, policy.grid(image)) for image in images))
        return prompts.with_images(tuple(spoiled))


@torch.no_grad()
def measure(
    policy: Policy,
    encoded: EncodedPrompts,
    perturbed: Sequence[EncodedPrompts],
    rollouts: Rollouts,
    vision: Bool[Tensor, "N T"],
    temperature: float = 1.0,
    budget: int = UNLIMITED,
) -> Evidence:
    """Log-probabilities and entropy given the clean images, and the KL from the perturbed ones on vision tokens.

    The perturbed passes end with the last vision token of each completion: nothing behind it is asked for.
    """
    tokens, mask = rollouts.tokens, rollouts.mask
    log_probs, entropy, kl = (torch.zeros(tokens.shape, device=tokens.device) for _ in range(3))
    for part in policy.micro_batches(encoded, mask, budget):
        rows = part.rows
        hidden = policy.hidden(part.encoded, tokens[rows], mask[rows], part.owners)
        countable = policy.countable(tokens[rows], mask[rows])
        log_probs[rows], entropy[rows] = token_statistics(hidden, policy.head, tokens[rows], countable)
        if temperature != 1.0:
            log_probs[rows], _ = token_statistics(hidden, policy.head, tokens[rows], countable, temperature)
        for copied in perturbed:
            kl[rows] += _visual_kl(policy, copied.select(part.prompts), part, hidden, tokens[rows], vision[rows])
    return Evidence(log_probs, entropy, kl / max(len(perturbed), 1))


def _visual_kl(
    policy: Policy,
    perturbed: EncodedPrompts,
    part: MicroBatch,
    hidden: Float[Tensor, "N T D"],
    tokens: Int[Tensor, "N T"],
    vision: Bool[Tensor, "N T"],
) -> Float[Tensor, "N T"]:
    """KL of the clean from the perturbed pass on vision tokens, 0 elsewhere."""
    until = vision.flip(1).cummax(1).values.flip(1)
    seen = int(until.sum(1).max())
    kl = torch.zeros(tokens.shape, device=tokens.device)
    if seen:
        spoiled = policy.hidden(perturbed, tokens[:, :seen], until[:, :seen], part.owners)
        kl[:, :seen] = vocabulary_kl(hidden[:, :seen], spoiled, policy.head, vision[:, :seen])
    return kl


def draw_seed(seed: int, *what: str) -> int:
    """A seed for one draw, the same on every machine and rank, so that a step can be replayed alone."""
    digest = hashlib.blake2b("\0".join((str(seed), *what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def level_log_probs(
    policy: Policy, hidden: Float[Tensor, "N T D"], responses: Responses, levels: Int[Tensor, " L"]
) -> Float[Tensor, "N 2 L"]:
    """Log-probabilities of the level tokens, at the visual and at the reasoning confidence.

    0 throughout, with a gradient of 0, where a confidence is absent.
    """
    columns = []
    for span in (responses.spans.visual_confidence, responses.spans.reasoning_confidence):
        at = hidden[torch.arange(len(hidden), device=hidden.device), span.int().argmax(1)]
        log_probs = policy.head(at).float().log_softmax(-1)[:, levels]
        columns.append(log_probs.masked_fill(~span.any(1, keepdim=True), 0.0))
    return torch.stack(columns, 1)


def _remembering(part: object, where: str) -> Iterator[tuple[str, Any]]:
    """The parts within a part that keep a memory, each with its path."""
    for name, setting in vars(part).items():
        if hasattr(setting, "state_dict"):
            yield where + name, setting
        if isinstance(type(setting), ABCMeta):  # a member of a family, ours or a user's, and no foreign object
            yield from _remembering(setting, f"{where}{name}.")
