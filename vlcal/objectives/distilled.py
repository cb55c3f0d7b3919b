"""The measured certainty taught to the stated confidences, level by level."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.objectives.expected import ExpectedScore
from vlcal.scores import Brier, ProperScore


class DistilledCertainty(ExpectedScore):
    """Teaches each confidence its own label by the cross-entropy of the levels.

    `loss = w_v CE(q(s'), p(c_v)) + w_r CE(q(t'), p(c_r)) + w_c E[score(phi, correct)] - w_l log P(some level)`,
    with the measured certainty s of what was seen and t of what was concluded, s' = s and t' = t at sharpness 0, and
    q(s) on the two levels next to s, in shares whose mean is s: `CE(q, p) = - sum_l q(l) log p(l)`.

    An expected score is linear in the probabilities of the levels, so its minimum is one level, and a policy comes to
    state that one before it has learned what it depends on; from then on its gradient, which is in proportion to
    `p (1 - p)`, is next to nothing. The cross-entropy is least where the distribution of the stated level is that of
    the label, given what the policy knows: it keeps several levels, and its gradient does not vanish where the policy
    is surely wrong. The mean over the levels is then the expected label, which is calibrated if the label is. Hinton et
    al. (2015), distillation; the soft label on two levels is that of Imani and White (2018).

    A stated level is one draw from that distribution, which ranks worse than its mean and is more extreme. A sharpness
    k draws the label to the mean m that the policy itself gives the levels, `s' = m + (1 - k) (s - m)`: what is learned
    has the same mean, since s' = m on average where s = m is, and the standard deviation of the label times 1 - k. A
    policy that has learned nothing yet learns more slowly then, so that sharpness belongs to the end of a run
    (`SharpnessSchedule`).

    Args:
        visual_weight: Factor on the cross-entropy of the visual confidence, at least 0.
        reasoning_weight: Factor on that of the reasoning confidence, at least 0; it counts where there is a label.
        calibration_weight: Factor on the expected Brier score of the overall confidence, at least 0.
        level_weight: Factor on the negative log-probability, in nats, that a level is stated at all, at least 0.
        sharpness: How far a label is drawn to the policy's own mean, in [0, 1); 0 leaves it.
    """

    logged = "{}_cross_entropy"

    def __init__(
        self,
        visual_weight: float = 1.0,
        reasoning_weight: float = 1.0,
        calibration_weight: float = 0.0,
        level_weight: float = 1.0,
        sharpness: float = 0.0,
    ) -> None:
        super().__init__(
            calibration=Brier(),
            calibration_weight=calibration_weight,
            visual=Brier(),
            visual_weight=visual_weight,
            level_weight=level_weight,
            reasoning=Brier(),
            reasoning_weight=reasoning_weight,
        )
        self.sharpness = sharpness

    @property
    def sharpness(self) -> float:
        """How far a label is drawn to the policy's own mean."""
        return self._sharpness

    @sharpness.setter
    def sharpness(self, sharpness: float) -> None:
        if not 0.0 <= sharpness < 1.0:
            raise UserError(f"`sharpness` must be in [0, 1), since at 1 no label is learned; got {sharpness}.")
        self._sharpness = sharpness

    def held_against(
        self,
        score: ProperScore,
        log_probs: Float[Tensor, "n L"],
        levels: Float[Tensor, " L"],
        label: Float[Tensor, " n"],
    ) -> Float[Tensor, " labelled"]:
        """The cross-entropy of the levels; of the rows that have a label."""
        known = ~label.isnan()
        mean = log_probs[known].detach().exp() @ levels
        shares = soft_levels(label[known].lerp(mean, self.sharpness), levels)
        return -(shares * log_probs[known].masked_fill(shares == 0, 0)).sum(-1)


def soft_levels(label: Float[Tensor, " n"], levels: Float[Tensor, " L"]) -> Float[Tensor, "n L"]:
    """Shares of the two levels next to each label, whose mean is the label.

    >>> soft_levels(torch.tensor([0.25, 1.0]), torch.tensor([0.0, 0.5, 1.0]))
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    above = torch.searchsorted(levels, label.contiguous()).clamp(1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    upper = ((label - low) / (high - low)).clamp(0, 1)
    shares = torch.zeros(len(label), len(levels), device=label.device)
    return shares.scatter(1, (above - 1)[:, None], (1 - upper)[:, None]).scatter(1, above[:, None], upper[:, None])
