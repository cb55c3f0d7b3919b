"""The expected score of the stated confidences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.errors import UserError
from vlcal.objectives.confidence import ConfidenceObjective
from vlcal.parts import fresh_defaults
from vlcal.scores import Brier, ProperScore
from vlcal.types import Certainty, PolicyUpdate, Responses


class ExpectedScore(ConfidenceObjective):
    """Takes the expectation of the scores over the levels in place of sampling one.

    `loss = E[w_c S(phi(c_v, c_r), correct) + w_v S(c_v, s)] + w_r E[S(c_r, t) | c_v] - w_l log P(some level)`, over the
    levels c_v and c_r by their probabilities p(v) and p(r | v), with phi the overall confidence, s and t the certainty
    of reading and of reasoning, S proper scores and w the weights.

    Once the answer is verified, the score of EVERY confidence that could have been stated is known, not only that of
    the sampled one. The policy gradient of the confidence tokens can therefore be summed in place of sampled, a
    Rao-Blackwellised policy gradient (Casella and Robert, 1996; all-action gradient, Sutton et al., 2001): the same
    optimum, with less sampling noise, and with a signal where all completions of a group state the same number.

    The reasoning confidence is read behind the visual one that was sampled, v0, so that p(r | v) is known at v = v0
    alone. Its scores are those beside v0, summed over r without noise. The visual confidence is credited for what
    follows it, `Q(v0) = sum_r p(r | v0) S(phi(v0, r), correct)`, with a control variate that is known for every v and
    independent of v0, `C(v) = mean_r S(phi(v, r), correct)`:

    `grad E[S] = sum_r S(phi(v0, r), correct) grad p(r | v0) + sum_v C(v) grad p(v) + (Q(v0) - C(v0)) grad log p(v0)`

    in expectation over v0 (Gu et al., 2017, Q-Prop). A sum over v with p(r | v0) for all v has no noise and a bias of
    .1 to .5 of the gradient where r answers to v; this one has no bias, and per response the noise of about one
    gradient. It takes v0 as drawn from p: at a sampling temperature other than 1 it is exact for r alone. The term
    of t teaches the reasoning confidence, and no credit for it goes back to the visual one.

    The expectation is over the level tokens alone: over the whole vocabulary it would move probability between levels
    and all other tokens, and the format would be lost. No other term of the loss is on these two positions, so without
    the last term the probability that a level is stated at all drifts towards 0 within some twenty steps. A response
    whose confidences are absent does not count here, and stays with the policy objective. One without a visual
    certainty, as where there is no image, has no visual score and does not count in the mean of those; likewise for
    the certainty of reasoning.

    Args:
        calibration: Proper score of the overall confidence against correctness.
        calibration_weight: Factor on the expected calibration score, at least 0.
        visual: Proper score of the visual confidence against the measured certainty.
        visual_weight: Factor on the expected visual score, at least 0.
        level_weight: Factor on the negative log-probability, in nats, that a level is stated at all, at least 0.
        reasoning: Proper score of the reasoning confidence against the certainty of reasoning.
        reasoning_weight: Factor on the expected reasoning score, at least 0; 0 leaves it to the overall one.
    """

    needs_levels = True
    logged = "expected_{}"  # what a confidence is held against its own label by, in the log

    @fresh_defaults
    def __init__(
        self,
        calibration: ProperScore = Brier(),
        calibration_weight: float = 2.0,
        visual: ProperScore = Brier(),
        visual_weight: float = 0.4,
        level_weight: float = 1.0,
        reasoning: ProperScore = Brier(),
        reasoning_weight: float = 0.0,
    ) -> None:
        weights = {
            "calibration_weight": calibration_weight,
            "visual_weight": visual_weight,
            "level_weight": level_weight,
            "reasoning_weight": reasoning_weight,
        }
        for name, weight in weights.items():
            if not weight >= 0.0:
                raise UserError(f"`{name}` must be at least 0, since a score is a loss; got {weight}.")
        self.calibration = calibration
        self.calibration_weight = calibration_weight
        self.visual = visual
        self.visual_weight = visual_weight
        self.level_weight = level_weight
        self.reasoning = reasoning
        self.reasoning_weight = reasoning_weight

    def policy_mask(self, mask: Bool[Tensor, "N T"], responses: Responses) -> Bool[Tensor, "N T"]:
        """Everything but the level tokens whose gradient is exact already."""
        levels = responses.spans.visual_confidence | responses.spans.reasoning_confidence
        return mask & ~(levels & _stated(responses)[:, None])

    def __call__(
        self,
        level_log_probs: Float[Tensor, "N 2 L"],
        levels: Float[Tensor, " L"],
        overall: Float[Tensor, "L L"],
        responses: Responses,
        certainty: Certainty,
    ) -> Sequence[PolicyUpdate]:
        """Calibration and level term over what states both confidences; two terms over what has a label of its own."""
        if level_log_probs.shape[1:] != (2, len(levels)):
            raise UserError(
                f"`level_log_probs` must be (N, 2, L) with L = {len(levels)} like `levels`; "
                f"got {tuple(level_log_probs.shape)}."
            )
        stated = _stated(responses)
        # Rows are taken out, not multiplied by 0: whatever stands in the others, NaN included, gets a gradient of 0.
        log_probs = level_log_probs[stated].float()
        some_level = log_probs.logsumexp(-1, keepdim=True)
        log_probs = log_probs - some_level
        chosen = (levels - responses.visual[stated, None]).abs().argmin(1)
        calibration = self._expected_calibration(log_probs, chosen, overall, responses.correct[stated])
        missed = -some_level.sum(dim=(1, 2))
        probs = log_probs.exp()
        entropy = torch.special.entr(probs.detach()).sum(dim=-1).mean(dim=0)
        stats = {
            "expected_calibration": float(calibration.detach().mean()),
            "level_missed": float(missed.detach().mean()),
            "visual_level_entropy": float(entropy[0]),
            "reasoning_level_entropy": float(entropy[1]),
        }
        seen = self.held_against(self.visual, log_probs[:, 0], levels, certainty.response[stated])
        concluded = self.held_against(self.reasoning, log_probs[:, 1], levels, certainty.reasoning[stated])
        return (
            PolicyUpdate(_mean(self.calibration_weight * calibration + self.level_weight * missed), stats),
            PolicyUpdate(_mean(self.visual_weight * seen), {self.logged.format("visual"): float(seen.detach().mean())}),
            PolicyUpdate(
                _mean(self.reasoning_weight * concluded),
                {self.logged.format("reasoning"): float(concluded.detach().mean())},
            ),
        )

    def held_against(
        self,
        score: ProperScore,
        log_probs: Float[Tensor, "n L"],
        levels: Float[Tensor, " L"],
        label: Float[Tensor, " n"],
    ) -> Float[Tensor, " labelled"]:
        """The score of a confidence against its own label, expected over its levels; of the rows that have a label."""
        known = ~label.isnan()
        return (log_probs[known].exp() * score(levels, label[known, None])).sum(dim=-1)

    def counts(self, responses: Responses, certainty: Certainty) -> Sequence[int]:
        """Responses that state both confidences; those of them with a label of the visual, of the reasoning one."""
        stated = _stated(responses)
        labels = (certainty.response, certainty.reasoning)
        return int(stated.sum()), *(int((stated & ~label.isnan()).sum()) for label in labels)

    def _expected_calibration(
        self,
        log_probs: Float[Tensor, "n 2 L"],
        chosen: Int[Tensor, " n"],
        overall: Float[Tensor, "L L"],
        correct: Float[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        """The score of the overall confidence expected behind the visual level that was chosen, Q(v0).

        Its gradient is that of the expectation over visual levels too.
        """
        scores = self.calibration(overall, correct[:, None, None])
        beside = scores[torch.arange(len(chosen), device=chosen.device), chosen]
        expected = (log_probs[:, 1].exp() * beside).sum(-1)
        known = scores.mean(-1)  # C(v)
        surprise = expected.detach() - known.gather(1, chosen[:, None])[:, 0]
        credit = surprise * log_probs[:, 0].gather(1, chosen[:, None])[:, 0] + (log_probs[:, 0].exp() * known).sum(-1)
        return expected + (credit - credit.detach())


def _stated(responses: Responses) -> Bool[Tensor, " N"]:
    """True where both confidences are there."""
    return ~(responses.visual.isnan() | responses.reasoning.isnan())


def _mean(losses: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """The mean; 0, with a gradient of 0, where there is no loss."""
    return losses.sum() / max(len(losses), 1)
