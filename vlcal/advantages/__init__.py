"""Rewards to advantages, and advantages to the tokens that earned them."""

from vlcal.advantages.estimators import (
    AdvantageEstimator,
    GroupCentered,
    GroupStandardized,
    LeaveOneOut,
    NoBaseline,
    ResponseAdvantage,
)
from vlcal.advantages.forked import ForkedAdvantages
from vlcal.advantages.reweighters import AdvantageReweighter, UniformReweighter, VisualCertaintyReweighter

__all__ = [
    "AdvantageEstimator",
    "AdvantageReweighter",
    "ForkedAdvantages",
    "GroupCentered",
    "GroupStandardized",
    "LeaveOneOut",
    "NoBaseline",
    "ResponseAdvantage",
    "UniformReweighter",
    "VisualCertaintyReweighter",
]
