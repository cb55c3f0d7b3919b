"""Credit for what was seen and for what was concluded, each on its own, from several continuations of one reading."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.advantages.estimators import AdvantageEstimator
from vlcal.functional.forks import conclusion_advantages, of_group, reading_advantages, siblings
from vlcal.functional.masked import masked_mean
from vlcal.types import Rollouts


class ForkedAdvantages(AdvantageEstimator):
    """What the reading earns on the tokens of the reading, what the conclusion earns behind it.

    With R_i the total reward of completion i, S_i the continuations of its reading v_i, itself among them, and J the
    completions whose reading was sampled and not given:

        V_i = mean of R_k over k in S_i                      the value of the reading
        A_t = V_i - mean of V_j over j in J, j != i          up to the end of the reading
        A_t = R_i - mean of R_k over k in S_i, k != i        behind it

    Continuations are independent given the reading, so E[V_i | readings] is the value of the reading and neither
    baseline depends on what it is subtracted from: both gradients are unbiased (by enumeration in the tests). A reading
    is no longer blamed for a wrong sum, nor a right sum for a misread digit. That no sibling is right needs no case of
    its own: then all are equally wrong, and what is left of the difference is form and calibration, which are earned
    behind the reading. A completion that shares its reading with none has A_t = R_i - mean of V_j throughout: with
    `FreeStarts`, that of `LeaveOneOut`. Kazemnejad et al. (2024), VinePPO, credits the steps of a reasoning so.

    A reading has one row in C to learn from, its value C times the samples. Rewards keep their scale.
    """

    def __call__(self, rewards: Float[Tensor, " N"], rollouts: Rollouts) -> Float[Tensor, "N T"]:
        """That of the reading on shared tokens and of lone completions, else that of the conclusion."""
        size, shared = rollouts.group_size, rollouts.shared
        relative = rewards - of_group(rewards, size)[:, 0]  # so that equal rewards are exactly 0, without rounding
        alike = siblings(rollouts.tokens, shared, size)
        values = masked_mean(of_group(relative, size), alike)
        reading = reading_advantages(values, ~rollouts.forced.any(1), size)
        seen = shared | ~shared.any(1, keepdim=True)
        return torch.where(seen, reading[:, None], conclusion_advantages(relative, alike)[:, None])
