"""The terms of the loss: on the policy, on the stated confidences, and on the distance to the reference."""

from vlcal.objectives.aggregation import LossAggregation, SequenceMeanTokenMean, SequenceMeanTokenSumNorm, TokenMean
from vlcal.objectives.clipped import ClippedSurrogate
from vlcal.objectives.confidence import ConfidenceObjective, SampledConfidence
from vlcal.objectives.correction import NoCorrection, SamplerCorrection, TruncatedImportance
from vlcal.objectives.distilled import DistilledCertainty
from vlcal.objectives.expected import ExpectedScore
from vlcal.objectives.policy import NoPolicyObjective, PolicyObjective
from vlcal.objectives.reference import (
    ExactReferenceKL,
    NoReferenceKL,
    Predictions,
    ReferenceKL,
    SampledReferenceKL,
)

__all__ = [
    "ClippedSurrogate",
    "ConfidenceObjective",
    "DistilledCertainty",
    "ExactReferenceKL",
    "ExpectedScore",
    "LossAggregation",
    "NoCorrection",
    "NoPolicyObjective",
    "NoReferenceKL",
    "PolicyObjective",
    "Predictions",
    "ReferenceKL",
    "SampledConfidence",
    "SampledReferenceKL",
    "SamplerCorrection",
    "SequenceMeanTokenMean",
    "SequenceMeanTokenSumNorm",
    "TokenMean",
    "TruncatedImportance",
]
