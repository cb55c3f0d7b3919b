"""Rewards to advantages, and advantages to the tokens that earned them."""

from vlcal.advantages.estimators import AdvantageEstimator, GroupCentered, GroupStandardized, LeaveOneOut, NoBaseline
from vlcal.advantages.reweighters import AdvantageReweighter, UniformReweighter, VisualCertaintyReweighter

__all__ = [
    "AdvantageEstimator",
    "AdvantageReweighter",
    "GroupCentered",
    "GroupStandardized",
    "LeaveOneOut",
    "NoBaseline",
    "UniformReweighter",
    "VisualCertaintyReweighter",
]
