"""Readouts: ways to derive a confidence from the same response, for comparison."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.masked import masked_mean, masked_sum
from vlcal.policy import Continuations, Policy
from vlcal.probes.levels import levels_at, stated_places
from vlcal.probes.study import Study
from vlcal.text import Grammar

ASK = "{question}\n\nProposed answer: {answer}\n\nIs the proposed answer right? Reply with {true} or {false} alone."
ABSENT = "none"


class Readout(ABC):
    """Derives confidences from responses."""

    @abstractmethod
    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        """Confidences in [0, 1] by kind (`overall`, `visual`, `reasoning`, or some of them); NaN where absent."""


class StatedLevel(Readout):
    """The number that the response states."""

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        said = study.assessment.responses
        return {"overall": said.overall, "visual": said.visual, "reasoning": said.reasoning}


class ExpectedLevel(Readout):
    """The expected level under the distribution that the policy states it with at temperature 1.

    Finer than the stated level, and without sampling noise. Levels of several tokens are exact: where 10 is the tokens
    1 and 0, its probability is not counted for 1. NaN where a response does not state both confidences.
    """

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        return levels_at(study, stated_places(study)).expected(study)


class MeasuredCertainty(Readout):
    """The label-free visual certainty: how far the vision part depends on the image, and its entropy."""

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        return {"visual": study.assessment.certainty.response}


class TrueProbability(Readout):
    """P(True): the probability that the policy, asked whether the answer is right, affirms it. Kadavath et al. (2022).

    Args:
        true: The reply for a right answer.
        false: The reply for a wrong answer; the two must start with different tokens.
    """

    def __init__(self, true: str = "True", false: str = "False") -> None:
        if not true or not false or true == false:
            raise UserError(f"`true` and `false` must be two different replies; got {true!r} and {false!r}.")
        self.true = true
        self.false = false

    @torch.no_grad()
    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        policy, said = study.policy, study.assessment.responses
        prompts = study.assessment.prompts.select(study.prompt_index)
        asked = [
            ASK.format(question=question, answer=answer or ABSENT, true=self.true, false=self.false)
            for question, answer in zip(prompts.questions, said.answers, strict=True)
        ]
        replies = self._replies(policy)
        encoded = policy.encode(replace(prompts, questions=tuple(asked)), Grammar(instructions=""))
        first = torch.full((len(said), 1), policy.pad_token_id, device=policy.device)
        anything = torch.ones_like(first, dtype=torch.bool)
        probability = torch.full((len(said),), torch.nan, device=policy.device)
        for part in policy.micro_batches(Continuations.of(encoded, first, anything), study.budget):
            hidden = policy.hidden(part)
            probability[part.rows] = policy.head(hidden[:, 0]).float()[:, replies].softmax(-1)[:, 0]
        absent = torch.tensor([answer is None for answer in said.answers], device=policy.device)
        return {"overall": probability.masked_fill(absent, torch.nan)}

    def _replies(self, policy: Policy) -> list[int]:
        """The first tokens of both replies."""
        first = [policy.tokenizer.encode(reply, add_special_tokens=False)[0] for reply in (self.true, self.false)]
        if first[0] == first[1]:
            raise UserError(
                f"`true` and `false` must start with different tokens, which {self.true!r} and {self.false!r} do not "
                "with this tokenizer. Try other words."
            )
        return first


class AnswerLikelihood(Readout):
    """The geometric mean of the probabilities of the answer's tokens, at the temperature they were sampled with."""

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        assessment = study.assessment
        return {"overall": masked_mean(assessment.evidence.log_probs, assessment.responses.spans.answer).exp()}


class SequenceLikelihood(Readout):
    """The geometric mean of the probabilities of all tokens of the response, at the temperature they were sampled with.

    That is one over the perplexity of the response.
    """

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        assessment = study.assessment
        return {"overall": masked_mean(assessment.evidence.log_probs, assessment.rollouts.mask).exp()}


class ReadingLikelihood(Readout):
    """The probability of the stated reading given image and question, at temperature 1: a ceiling of visual confidence.

    p(v | image, question) = exp(sum of log p(v_t | v_<t, image, question)) over the tokens v_t of the vision part.
    """

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        return {"visual": _probability(study, study.assessment.responses.spans.vision)}


class ReasoningLikelihood(Readout):
    """The probability of reasoning and answer given the stated reading, at temperature 1: a ceiling of its confidence.

    p(r, a | v, image, question) = exp(sum of log p) over the tokens of reasoning and answer.
    """

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        spans = study.assessment.responses.spans
        concluded = _probability(study, spans.reasoning | spans.answer)
        return {"reasoning": concluded.masked_fill(~spans.answer.any(1), torch.nan)}


class ResponseLikelihood(Readout):
    """Both likelihoods and their product, which is the ceiling of the overall confidence.

    Named `ceiling` in a ReadoutWriter, it stands beside the stated confidences in every table of a report.
    """

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        both = {**ReadingLikelihood()(study), **ReasoningLikelihood()(study)}
        return {**both, "overall": both["visual"] * both["reasoning"]}


class SelfConsistency(Readout):
    """The share of further samples that give the same answer. Wang et al. (2023).

    Two answers are the same where their characters are, whatever the case and the white space.

    Args:
        samples: Further responses per prompt, at least 1.
    """

    def __init__(self, samples: int = 8) -> None:
        if samples < 1:
            raise UserError(f"`samples` must be at least 1, or nothing is compared; got {samples}.")
        self.samples = samples

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        others = study.answers_to(study.assessment.prompts, "self-consistency", self.samples).answers
        agreed = []
        for owner, answer in zip(study.prompt_index, study.assessment.responses.answers, strict=True):
            group = others[owner * self.samples : (owner + 1) * self.samples]
            same = sum(_plain(other) == _plain(answer) for other in group if other is not None)
            agreed.append(float("nan") if answer is None else same / self.samples)
        return {"overall": torch.tensor(agreed, device=study.policy.device)}


def _plain(answer: str | None) -> str:
    return "".join((answer or "").split()).casefold()


def _probability(study: Study, part: Bool[Tensor, "N T"]) -> Float[Tensor, " N"]:
    """The probability of a part of each response given all ahead of it, at temperature 1; NaN where it is absent."""
    log_probs = study.assessment.evidence.plain_log_probs
    return masked_sum(log_probs, part).clamp(max=0).exp().masked_fill(~part.any(1), torch.nan)
