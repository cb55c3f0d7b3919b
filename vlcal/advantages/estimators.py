"""How much better a response is than could be expected of its prompt."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.advantages import group_centered, group_standardized, leave_one_out
from vlcal.types import Rollouts


class AdvantageEstimator(ABC):
    """Compares each total reward with a baseline; what the policy gradient is multiplied with."""

    @abstractmethod
    def __call__(self, rewards: Float[Tensor, " N"], rollouts: Rollouts) -> Float[Tensor, "N T"]:
        """The advantage of each token of each completion."""


class ResponseAdvantage(AdvantageEstimator):
    """One advantage for all tokens of a completion."""

    @abstractmethod
    def of_responses(self, rewards: Float[Tensor, " N"], group_size: int) -> Float[Tensor, " N"]:
        """The advantage of each completion; rows lie group after group."""

    def __call__(self, rewards: Float[Tensor, " N"], rollouts: Rollouts) -> Float[Tensor, "N T"]:
        """The advantage of its completion on every token."""
        return self.of_responses(rewards, rollouts.group_size)[:, None].expand(rollouts.tokens.shape)


class GroupStandardized(ResponseAdvantage):
    """Reward minus the group's mean, over the group's standard deviation: `A_i = (R_i - mean R) / (std R + eps)`.

    A group whose rewards are all equal is exactly 0. Shao et al. (2024), GRPO.

    Args:
        eps: Added to the standard deviation, in units of the reward, at least 0.
    """

    def __init__(self, eps: float = 1e-6) -> None:
        if not eps >= 0.0:
            raise UserError(f"`eps` must be at least 0, since it is added to a standard deviation; got {eps}.")
        self.eps = eps

    def of_responses(self, rewards: Float[Tensor, " N"], group_size: int) -> Float[Tensor, " N"]:
        """How many standard deviations of its group each reward lies above the mean."""
        return group_standardized(rewards, group_size, eps=self.eps)


class GroupCentered(ResponseAdvantage):
    """Reward minus the group's mean, `A_i = R_i - mean R`; keeps the scale of rewards. Liu et al. (2025), Dr. GRPO."""

    def of_responses(self, rewards: Float[Tensor, " N"], group_size: int) -> Float[Tensor, " N"]:
        """How far each reward lies above the mean of its group."""
        return group_centered(rewards, group_size)


class LeaveOneOut(ResponseAdvantage):
    """Reward minus the mean of the other G - 1 in its group: an unbiased baseline. Ahmadian et al. (2024), RLOO."""

    def of_responses(self, rewards: Float[Tensor, " N"], group_size: int) -> Float[Tensor, " N"]:
        """How far each reward lies above the mean of the others in its group."""
        return leave_one_out(rewards, group_size)


class NoBaseline(ResponseAdvantage):
    """The reward itself, `A_i = R_i`; also works with one completion per prompt. The null member."""

    def of_responses(self, rewards: Float[Tensor, " N"], group_size: int) -> Float[Tensor, " N"]:
        """The rewards."""
        return rewards
