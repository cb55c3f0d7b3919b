"""Responses and certainty to one number each: what the policy is to have more of."""

from vlcal.rewards.base import Reward, ZeroReward, combine
from vlcal.rewards.confidence import CalibrationReward, VisualReward
from vlcal.rewards.outcome import AccuracyReward, FormatReward

__all__ = [
    "AccuracyReward",
    "CalibrationReward",
    "FormatReward",
    "Reward",
    "VisualReward",
    "ZeroReward",
    "combine",
]
