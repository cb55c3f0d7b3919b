"""Experiments that show what a stated confidence depends on."""

from vlcal.evaluation.probes.base import Probe
from vlcal.evaluation.probes.hidden import HiddenResponse
from vlcal.evaluation.probes.images import CorruptionCurve, RemovedImage
from vlcal.evaluation.probes.swap import SwappedAnalysis, SwappedAnswer, SwappedPart, SwappedReasoning, SwappedVision

__all__ = [
    "CorruptionCurve",
    "HiddenResponse",
    "Probe",
    "RemovedImage",
    "SwappedAnalysis",
    "SwappedAnswer",
    "SwappedPart",
    "SwappedReasoning",
    "SwappedVision",
]
