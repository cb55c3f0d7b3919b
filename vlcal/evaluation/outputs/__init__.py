"""Other people's outputs: files of model answers, read into confidences and verdicts."""

from vlcal.evaluation.outputs.outputs import Outputs, Request
from vlcal.evaluation.outputs.reading import LOG_FORMATS, read_outputs
from vlcal.evaluation.outputs.scale import DeclaredScale, PlainScale, Scale
from vlcal.evaluation.outputs.statement import GrammarStatement, PatternStatement, Statement, scale_of

__all__ = [
    "LOG_FORMATS",
    "DeclaredScale",
    "GrammarStatement",
    "Outputs",
    "PatternStatement",
    "PlainScale",
    "Request",
    "Scale",
    "Statement",
    "read_outputs",
    "scale_of",
]
