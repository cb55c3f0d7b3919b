"""Evidence to certainty: how certain the policy was of what it saw, without a label."""

from vlcal.certainty.base import CertaintyEstimator, ConstantCertainty
from vlcal.certainty.forked import ForkedCertainty
from vlcal.certainty.labelers import BatchLabeler, GroupLabeler, SoftLabeler, WindowLabeler
from vlcal.certainty.platt import PlattCertainty
from vlcal.certainty.visual import EntropyCertainty, KLCertainty, KLEntropyCertainty
from vlcal.certainty.written import (
    AgreementCertainty,
    JointCertainty,
    LikelihoodCertainty,
    LogRatioCertainty,
    MinimumLikelihoodCertainty,
    WrittenLikelihood,
)

__all__ = [
    "AgreementCertainty",
    "BatchLabeler",
    "CertaintyEstimator",
    "ConstantCertainty",
    "EntropyCertainty",
    "ForkedCertainty",
    "GroupLabeler",
    "JointCertainty",
    "KLCertainty",
    "KLEntropyCertainty",
    "LikelihoodCertainty",
    "LogRatioCertainty",
    "MinimumLikelihoodCertainty",
    "PlattCertainty",
    "SoftLabeler",
    "WindowLabeler",
    "WrittenLikelihood",
]
