"""Evidence to certainty: how certain the policy was of what it saw, without a label."""

from vlcal.certainty.base import CertaintyEstimator, ConstantCertainty
from vlcal.certainty.labelers import BatchLabeler, GroupLabeler, SoftLabeler, WindowLabeler
from vlcal.certainty.platt import PlattCertainty
from vlcal.certainty.visual import EntropyCertainty, KLCertainty, KLEntropyCertainty

__all__ = [
    "BatchLabeler",
    "CertaintyEstimator",
    "ConstantCertainty",
    "EntropyCertainty",
    "GroupLabeler",
    "KLCertainty",
    "KLEntropyCertainty",
    "PlattCertainty",
    "SoftLabeler",
    "WindowLabeler",
]
