"""Responses and certainty to one number each: what the policy is to have more of."""

from vlcal.rewards.base import Attempts, Reward, ZeroReward, combine
from vlcal.rewards.confidence import CalibrationReward, ReasoningReward, VisualReward
from vlcal.rewards.outcome import AccuracyReward, FormatReward

__all__ = [
    "AccuracyReward",
    "Attempts",
    "CalibrationReward",
    "FormatReward",
    "ReasoningReward",
    "Reward",
    "VisualReward",
    "ZeroReward",
    "combine",
]
