"""Ways to read a confidence out of the same response, to be compared side by side."""

from vlcal.evaluation.readouts.answers import AnswerLikelihood, SelfConsistency, SequenceLikelihood, TrueProbability
from vlcal.evaluation.readouts.base import Readout
from vlcal.evaluation.readouts.stated import ExpectedLevel, MeasuredCertainty, StatedLevel

__all__ = [
    "AnswerLikelihood",
    "ExpectedLevel",
    "MeasuredCertainty",
    "Readout",
    "SelfConsistency",
    "SequenceLikelihood",
    "StatedLevel",
    "TrueProbability",
]
