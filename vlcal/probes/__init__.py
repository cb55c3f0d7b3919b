"""Experiments with a model: what a stated confidence depends on, and other ways to read one out."""

from vlcal.probes.altered import AlteredReading
from vlcal.probes.base import Probe
from vlcal.probes.hidden import HiddenResponse
from vlcal.probes.images import CorruptionCurve, RemovedImage
from vlcal.probes.readouts import (
    AnswerLikelihood,
    ExpectedLevel,
    MeasuredCertainty,
    ReadingLikelihood,
    Readout,
    ReasoningLikelihood,
    ResponseLikelihood,
    SelfConsistency,
    SequenceLikelihood,
    StatedLevel,
    TrueProbability,
)
from vlcal.probes.swap import SwappedAnalysis, SwappedAnswer, SwappedPart, SwappedReasoning, SwappedVision

__all__ = [
    "AlteredReading",
    "AnswerLikelihood",
    "CorruptionCurve",
    "ExpectedLevel",
    "HiddenResponse",
    "MeasuredCertainty",
    "Probe",
    "ReadingLikelihood",
    "Readout",
    "ReasoningLikelihood",
    "RemovedImage",
    "ResponseLikelihood",
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
