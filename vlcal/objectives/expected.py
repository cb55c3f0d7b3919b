"""The exact expected score of the stated confidences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.objectives.confidence import ConfidenceObjective
from vlcal.parts import fresh_defaults
from vlcal.scores import Brier, ProperScore
from vlcal.types import Certainty, PolicyUpdate, Responses


class ExpectedScore(ConfidenceObjective):
    """Takes the expectation of the scores over every pair of levels in place of sampling one.

    `loss = E[w_c score(phi(c_v, c_r), correct) + w_v score(c_v, s)] - w_l log P(some level)`, over the levels c_v and
    c_r by their probabilities, with phi the overall confidence, s the visual certainty and w the weights.

    Once the answer is verified, the score of EVERY confidence that could have been stated is known, not only that of
    the sampled one. The policy gradient of the confidence tokens can therefore be summed exactly, a Rao-Blackwellised
    policy gradient (Casella and Robert, 1996; all-action gradient, Sutton et al., 2001): the same optimum, without the
    sampling noise, and with a signal where all completions of a group state the same number.

    The two confidences are taken as independent given the text. For the reasoning confidence that is exact, since its
    distribution is read after the visual one that was sampled; for the visual confidence it leaves out that the
    reasoning confidence might have answered to another one.

    The expectation is over the level tokens alone: over the whole vocabulary it would move probability between levels
    and all other tokens, and the format would be lost. No other term of the loss is on these two positions, so without
    the last term the probability that a level is stated at all drifts towards 0 within some twenty steps. A response
    whose confidences are absent does not count here, and stays with the policy objective. One without a visual
    certainty, as where there is no image, has no visual score and does not count in the mean of those.

    Args:
        calibration: Proper score of the overall confidence against correctness.
        calibration_weight: Factor on the expected calibration score, at least 0.
        visual: Proper score of the visual confidence against the measured certainty.
        visual_weight: Factor on the expected visual score, at least 0.
        level_weight: Factor on the negative log-probability, in nats, that a level is stated at all, at least 0.
    """

    needs_levels = True

    @fresh_defaults
    def __init__(
        self,
        calibration: ProperScore = Brier(),
        calibration_weight: float = 2.0,
        visual: ProperScore = Brier(),
        visual_weight: float = 0.4,
        level_weight: float = 1.0,
    ) -> None:
        weights = {
            "calibration_weight": calibration_weight,
            "visual_weight": visual_weight,
            "level_weight": level_weight,
        }
        for name, weight in weights.items():
            if not weight >= 0.0:
                raise UserError(f"`{name}` must be at least 0, since a score is a loss; got {weight}.")
        self.calibration = calibration
        self.calibration_weight = calibration_weight
        self.visual = visual
        self.visual_weight = visual_weight
        self.level_weight = level_weight

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
        """Calibration and level term over what states both confidences; the visual term over what has a label."""
        if level_log_probs.shape[1:] != (2, len(levels)):
            raise UserError(
                f"`level_log_probs` must be (N, 2, L) with L = {len(levels)} like `levels`; "
                f"got {tuple(level_log_probs.shape)}."
            )
        stated, labelled = _stated(responses), _labelled(responses, certainty)
        # Rows are taken out, not multiplied by 0: whatever stands in the others, NaN included, gets a gradient of 0.
        log_probs = level_log_probs[stated].float()
        some_level = log_probs.logsumexp(-1, keepdim=True)
        probs = (log_probs - some_level).exp()
        calibration = self._expected_calibration(probs, overall, responses.correct[stated])
        visual = self._expected_visual(probs[labelled[stated], 0], levels, certainty.response[labelled])
        missed = -some_level.sum(dim=(1, 2))
        entropy = torch.special.entr(probs.detach()).sum(dim=-1).mean(dim=0)
        stats = {
            "expected_calibration": float(calibration.detach().mean()),
            "level_missed": float(missed.detach().mean()),
            "visual_level_entropy": float(entropy[0]),
            "reasoning_level_entropy": float(entropy[1]),
        }
        return (
            PolicyUpdate(_mean(self.calibration_weight * calibration + self.level_weight * missed), stats),
            PolicyUpdate(_mean(self.visual_weight * visual), {"expected_visual": float(visual.detach().mean())}),
        )

    def counts(self, responses: Responses, certainty: Certainty) -> Sequence[int]:
        """Responses that state both confidences, and those of them that have a label."""
        return int(_stated(responses).sum()), int(_labelled(responses, certainty).sum())

    def _expected_calibration(
        self, probs: Float[Tensor, "n 2 L"], overall: Float[Tensor, "L L"], correct: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The score of the overall confidence, expected over all pairs of levels."""
        scores = self.calibration(overall, correct[:, None, None])
        return torch.einsum("nv,nr,nvr->n", probs[:, 0], probs[:, 1], scores)

    def _expected_visual(
        self, probs: Float[Tensor, "n L"], levels: Float[Tensor, " L"], label: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The score of the visual confidence, expected over its levels."""
        return (probs * self.visual(levels, label[:, None])).sum(dim=-1)


def _stated(responses: Responses) -> Bool[Tensor, " N"]:
    """True where both confidences are there."""
    return ~(responses.visual.isnan() | responses.reasoning.isnan())


def _labelled(responses: Responses, certainty: Certainty) -> Bool[Tensor, " N"]:
    """True where both confidences are there, and a certainty to hold the visual one against."""
    return _stated(responses) & ~certainty.response.isnan()


def _mean(losses: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """The mean; 0, with a gradient of 0, where there is no loss."""
    return losses.sum() / max(len(losses), 1)
