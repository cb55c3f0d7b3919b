"""Experiments with a model: what a stated confidence depends on, and other ways to read one out."""

from vlcal.probes.base import Probe
from vlcal.probes.hidden import HiddenResponse
from vlcal.probes.images import CorruptionCurve, RemovedImage
from vlcal.probes.readouts import (
    AnswerLikelihood,
    ExpectedLevel,
    MeasuredCertainty,
    Readout,
    SelfConsistency,
    SequenceLikelihood,
    StatedLevel,
    TrueProbability,
)
from vlcal.probes.swap import SwappedAnalysis, SwappedAnswer, SwappedPart, SwappedReasoning, SwappedVision

__all__ = [
    "AnswerLikelihood",
    "CorruptionCurve",
    "ExpectedLevel",
    "HiddenResponse",
    "MeasuredCertainty",
    "Probe",
    "Readout",
    "RemovedImage",
    "SelfConsistency",
    "SequenceLikelihood",
    "StatedLevel",
    "SwappedAnalysis",
    "SwappedAnswer",
    "SwappedPart",
    "SwappedReasoning",
    "SwappedVision",
    "TrueProbability",
]
