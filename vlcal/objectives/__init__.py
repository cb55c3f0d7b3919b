"""Advantages and log-probabilities to a loss."""

from vlcal.objectives.aggregation import LossAggregation, SequenceMeanTokenMean, SequenceMeanTokenSumNorm, TokenMean
from vlcal.objectives.clipped import ClippedSurrogate
from vlcal.objectives.confidence import ConfidenceObjective, SampledConfidence
from vlcal.objectives.correction import NoCorrection, SamplerCorrection, TruncatedImportance
from vlcal.objectives.expected import ExpectedScore
from vlcal.objectives.policy import NoPolicyObjective, PolicyObjective

__all__ = [
    "ClippedSurrogate",
    "ConfidenceObjective",
    "ExpectedScore",
    "LossAggregation",
    "NoCorrection",
    "NoPolicyObjective",
    "PolicyObjective",
    "SampledConfidence",
    "SamplerCorrection",
    "SequenceMeanTokenMean",
    "SequenceMeanTokenSumNorm",
    "TokenMean",
    "TruncatedImportance",
]
