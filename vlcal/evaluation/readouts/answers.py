"""Confidence in an answer without asking the response for a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.evaluation.readouts.base import Readout
from vlcal.evaluation.study import Study
from vlcal.functional.masked import masked_mean
from vlcal.policy import Policy
from vlcal.text import Grammar

ASK = "{question}\n\nProposed answer: {answer}\n\nIs the proposed answer right? Reply with {true} or {false} alone."
ABSENT = "none"


class TrueProbability(Readout):
    """P(True): asked whether the answer is right, how likely the policy is to say so. Kadavath et al. (2022).

    Args:
        true: What it is to reply where the answer is right.
        false: What it is to reply where it is not; the two must start with different tokens.
    """

    def __init__(self, true: str = "True", false: str = "False") -> None:
        if not true or not false or true == false:
            raise ValueError(f"`true` and `false` must be two different replies; got {true!r} and {false!r}.")
        self.true = true
        self.false = false

    @torch.no_grad()
    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        policy, said = study.policy, study.experience.responses
        prompts = study.experience.prompts.select(study.owners)
        asked = [
            ASK.format(question=question, answer=answer or ABSENT, true=self.true, false=self.false)
            for question, answer in zip(prompts.questions, said.answers, strict=True)
        ]
        replies = self._replies(policy)
        encoded = policy.encode(replace(prompts, questions=tuple(asked)), Grammar(instructions=""))
        first = torch.full((len(said), 1), policy.filler, device=policy.device)
        anything = torch.ones_like(first, dtype=torch.bool)
        probability = torch.full((len(said),), torch.nan, device=policy.device)
        for part in policy.micro_batches(encoded, anything, study.budget):
            hidden = policy.hidden(part.encoded, first[part.rows], anything[part.rows], part.owners)
            probability[part.rows] = policy.head(hidden[:, 0]).float()[:, replies].softmax(-1)[:, 0]
        absent = torch.tensor([answer is None for answer in said.answers], device=policy.device)
        return {"overall": probability.masked_fill(absent, torch.nan)}

    def _replies(self, policy: Policy) -> list[int]:
        """The first tokens of both replies."""
        first = [policy.tokenizer.encode(reply, add_special_tokens=False)[0] for reply in (self.true, self.false)]
        if first[0] == first[1]:
            raise ValueError(
                f"`true` and `false` must start with different tokens, which {self.true!r} and {self.false!r} do not "
                "with this tokenizer. Try other words."
            )
        return first


class AnswerLikelihood(Readout):
    """The geometric mean of the probabilities of the answer's tokens, at the temperature they were sampled with."""

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        experience = study.experience
        return {"overall": masked_mean(experience.evidence.log_probs, experience.responses.spans.answer).exp()}


class SequenceLikelihood(Readout):
    """The geometric mean of the probabilities of all tokens of the response, at the temperature they were sampled with.

    That is one over the perplexity of the response.
    """

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        experience = study.experience
        return {"overall": masked_mean(experience.evidence.log_probs, experience.rollouts.mask).exp()}


class SelfConsistency(Readout):
    """The share of further samples that give the same answer. Wang et al. (2023).

    Two answers are the same where their characters are, whatever the case and the white space.

    Args:
        samples: Further responses per prompt, at least 1.
    """

    def __init__(self, samples: int = 8) -> None:
        if samples < 1:
            raise ValueError(f"`samples` must be at least 1, or nothing is compared; got {samples}.")
        self.samples = samples

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        others = study.answers_to(study.experience.prompts, "self-consistency", self.samples).answers
        agreed = []
        for owner, answer in zip(study.owners, study.experience.responses.answers, strict=True):
            group = others[owner * self.samples : (owner + 1) * self.samples]
            same = sum(_plain(other) == _plain(answer) for other in group if other is not None)
            agreed.append(float("nan") if answer is None else same / self.samples)
        return {"overall": torch.tensor(agreed, device=study.policy.device)}


def _plain(answer: str | None) -> str:
    return "".join((answer or "").split()).casefold()
