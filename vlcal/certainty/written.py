"""Certainty of what was written: how likely the tokens of a part are, not how the distribution around them looks.

An estimator over the distribution alone, such as `KLEntropyCertainty`, ranks images; it cannot tell two readings of one
image apart.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.certainty.base import CertaintyEstimator, visual_tokens
from vlcal.certainty.labelers import BatchLabeler, SoftLabeler
from vlcal.functional.masked import masked_mean, masked_sum
from vlcal.parts import Stateful, fresh_defaults, load_states, states_of
from vlcal.types import Certainty, Evidence, Responses, Rollouts


class WrittenLikelihood(CertaintyEstimator):
    """What the estimators over likelihoods share: a log-probability of each part, and labels that are probabilities.

    The visual label is that of the vision part, the reasoning label that of reasoning and answer given the vision part;
    the label of a vision token is its own probability. All are at temperature 1, whatever the sampling temperature.
    """

    @abstractmethod
    def log_likelihood(self, log_probs: Float[Tensor, "N T"], part: Bool[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """The log-likelihood of the part of each response, which is nowhere empty."""

    @torch.no_grad()
    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """The likelihood of what was seen and of what was concluded from it; the score is the log of the first."""
        log_probs, vision = evidence.plain_log_probs, visual_tokens(evidence, responses)
        seen = self._where_written(log_probs, vision)
        return Certainty(
            token=torch.where(vision, log_probs.exp(), 0.5),
            response=seen.exp(),
            score=seen,
            reasoning=self._where_written(log_probs, concluded_tokens(evidence, responses)).exp(),
        )

    def _where_written(self, log_probs: Float[Tensor, "N T"], part: Bool[Tensor, "N T"]) -> Float[Tensor, " N"]:
        return torch.where(part.any(-1), self.log_likelihood(log_probs, part), torch.nan)


class LikelihoodCertainty(WrittenLikelihood):
    """The likelihood of the part as it was written: `s = exp(sum_t log p(v_t | image, question, v_<t))`.

    Where a part has one wording, as the digits of a scene, it is the probability of what the part says, and no
    confidence can rank better than it does. Where it has many, a reading in other words is less likely and not less
    true: see `LogRatioCertainty`, `AgreementCertainty`, or this one under `PlattCertainty`. Sequence likelihood as a
    measure of uncertainty: Malinin and Gales (2021).
    """

    def log_likelihood(self, log_probs: Float[Tensor, "N T"], part: Bool[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """`sum_t log p(v_t)`."""
        return masked_sum(log_probs, part)


class MinimumLikelihoodCertainty(WrittenLikelihood):
    """The probability of the least likely token of the part: `s = min_t p(v_t | image, question, v_<t)`.

    It does not fall with the length of a part. Manakul et al. (2023), SelfCheckGPT, section 4.
    """

    def log_likelihood(self, log_probs: Float[Tensor, "N T"], part: Bool[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """`min_t log p(v_t)`."""
        return log_probs.masked_fill(~part, torch.inf).amin(-1)


class LogRatioCertainty(CertaintyEstimator, Stateful):
    """How much likelier the image makes what was seen: `S = mean_t log p(v_t | image) - log p(v_t | perturbed image)`.

    The pointwise mutual information of reading and image, per token, with the perturbed image as the absence of one;
    the wording, which is as likely without the image, cancels. Favero et al. (2024), M3ID. It says nothing of the
    reasoning, whose perturbed pass is not run: no reasoning label.

    Args:
        labeler: What a response's score is compared with to become a label.
    """

    @fresh_defaults
    def __init__(self, labeler: SoftLabeler = BatchLabeler()) -> None:
        self.labeler = labeler

    @torch.no_grad()
    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """Labels of the mean log-ratio; that of a token is `p / (p + p_perturbed)`, the sigmoid of its own."""
        ratio, vision = evidence.plain_log_probs - evidence.perturbed_log_probs, visual_tokens(evidence, responses)
        score = masked_mean(ratio, vision)
        token = torch.where(vision, ratio.sigmoid(), 0.5)
        return Certainty(token=token, response=self.labeler(score, rollouts), score=score)

    def state_dict(self) -> dict[str, Any]:
        """What the labeler remembers."""
        return states_of({"labeler": self.labeler})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the labeler remember again."""
        load_states({"labeler": self.labeler}, state)


class AgreementCertainty(CertaintyEstimator):
    """How many of the other responses to a prompt agree: with the reading, and with the conclusion from that reading.

    With G responses i, `s_i = share of j != i with reading_j = reading_i`, and
    `t_i = share of those j with answer_j = answer_i`. Wang et al. (2023), self-consistency. Readings agree where their
    tokens do, answers where they are written alike. A reading that was forced does not vote for readings, and a
    counterfactual completion votes for nothing; where nobody votes, there is no label.
    """

    @torch.no_grad()
    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """Shares of votes; the score is the visual one, and every vision token has it."""
        vision = visual_tokens(evidence, responses)
        readings = [tuple(row[part].tolist()) for row, part in zip(rollouts.tokens, vision, strict=True)]
        voters = ~(rollouts.forced & responses.spans.vision).any(-1)
        heard = ~rollouts.counterfactual
        seen, concluded = [], []
        for row, reading in enumerate(readings):
            start = row - row % rollouts.group_size
            group = range(start, start + rollouts.group_size)
            others = [other for other in group if other != row and readings[other] and heard[other]]
            alike = [other for other in others if readings[other] == reading]
            seen.append(_share([readings[other] == reading for other in others if voters[other]], bool(reading)))
            same = [responses.answers[other] == responses.answers[row] for other in alike]
            concluded.append(_share(same, bool(reading) and responses.answers[row] is not None))
        shares, answers = (torch.tensor(column, device=vision.device) for column in (seen, concluded))
        known = vision & ~shares.isnan()[:, None]
        token = torch.where(known, shares[:, None], 0.5)
        return Certainty(token=token, response=shares, score=shares, reasoning=answers)


class JointCertainty(CertaintyEstimator, Stateful):
    """One estimator for what was seen, another for what was concluded from it.

    Args:
        visual: Gives the labels of the visual confidence and of vision tokens, and the score.
        reasoning: Gives the labels of the reasoning confidence.
    """

    @fresh_defaults
    def __init__(
        self,
        visual: CertaintyEstimator = LikelihoodCertainty(),
        reasoning: CertaintyEstimator = LikelihoodCertainty(),
    ) -> None:
        self.visual = visual
        self.reasoning = reasoning

    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """The first estimator's certainty with the reasoning labels of the second."""
        seen = self.visual(evidence, rollouts, responses)
        return Certainty(seen.token, seen.response, seen.score, self.reasoning(evidence, rollouts, responses).reasoning)

    def state_dict(self) -> dict[str, Any]:
        """What both estimators remember."""
        return states_of({"visual": self.visual, "reasoning": self.reasoning})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let both remember again."""
        load_states({"visual": self.visual, "reasoning": self.reasoning}, state)


def concluded_tokens(evidence: Evidence, responses: Responses) -> Bool[Tensor, "N T"]:
    """True on the reasoning and answer tokens of responses with visual evidence that give an answer."""
    spans = responses.spans
    answered = spans.answer.any(-1, keepdim=True) & ~evidence.visual_kl.isnan()
    return (spans.reasoning | spans.answer) & answered


def _share(votes: list[bool], asked: bool) -> float:
    """The share of votes in favour; NaN where nobody votes or nothing is asked."""
    return sum(votes) / len(votes) if votes and asked else float("nan")
