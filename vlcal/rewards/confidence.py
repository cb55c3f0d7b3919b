"""Rewards for stated confidences that agree with what happened."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.parts import fresh_defaults
from vlcal.rewards.base import Attempts, Reward
from vlcal.scores import Brier, ProperScore


class CalibrationReward(Reward):
    """Minus the score of the overall confidence against correctness; the worst score where it is absent.

    With the Brier score, of the overall confidence phi, `r = -(phi - correct)^2`; `ResponseReader` has phi.

    The published recipe charges an absent confidence 1, the worst of the Brier score. Of a score that reaches further,
    such as the logarithm, 1 would make silence cheaper than being wrong, so its own worst is charged.

    Args:
        score: Proper score of the overall confidence against correctness.
        weight: Factor on this term in the total.
    """

    @fresh_defaults
    def __init__(self, score: ProperScore = Brier(), weight: float = 2.0) -> None:
        super().__init__(weight)
        self.score = score

    def __call__(self, attempts: Attempts) -> Float[Tensor, " N"]:
        """Between minus the worst score and 0."""
        responses = attempts.responses
        absent = responses.overall.isnan()
        return torch.where(absent, -self.score.worst, -self.score(responses.overall, responses.correct))


class ReasoningReward(Reward):
    """Minus the score of the reasoning confidence against the certainty of reasoning.

    With the Brier score, of the reasoning confidence c_r and the label t, `r = -(c_r - t)^2`. Labels come from an
    estimator that gives some, such as `JointCertainty`.

    The worst score where the confidence is absent, with a label or without; 0 where only the label is absent.

    Args:
        score: Proper score of the reasoning confidence against the certainty of reasoning.
        weight: Factor on this term in the total.
    """

    @fresh_defaults
    def __init__(self, score: ProperScore = Brier(), weight: float = 0.4) -> None:
        super().__init__(weight)
        self.score = score

    def __call__(self, attempts: Attempts) -> Float[Tensor, " N"]:
        """Between minus the worst score and 0."""
        return _against(self.score, attempts.responses.reasoning, attempts.certainty.reasoning)


class VisualReward(Reward):
    """Minus the score of the visual confidence against the soft label of the vision part.

    With the Brier score, of the visual confidence c_v and the label s, `r = -(c_v - s)^2`.

    The worst score where the confidence is absent, with a label or without; 0 where only the label is absent. Without
    an image to see no response of a group has a label, so that a stated visual confidence earns the same in all of
    them and moves no advantage.

    Args:
        score: Proper score of the visual confidence against the measured certainty.
        weight: Factor on this term in the total.
    """

    @fresh_defaults
    def __init__(self, score: ProperScore = Brier(), weight: float = 0.4) -> None:
        super().__init__(weight)
        self.score = score

    def __call__(self, attempts: Attempts) -> Float[Tensor, " N"]:
        """Between minus the worst score and 0."""
        return _against(self.score, attempts.responses.visual, attempts.certainty.response)


def _against(score: ProperScore, confidence: Float[Tensor, " N"], label: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Minus the score of each confidence against its label; the worst where it is absent, 0 where only the label is."""
    reward = torch.where(label.isnan(), 0.0, -score(confidence, label))
    return torch.where(confidence.isnan(), -score.worst, reward)
