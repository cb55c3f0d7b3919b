"""How a stated confidence is scored, and how two become one: shared by rewards, objectives and the reader."""

from vlcal.scores.overall import HarmonicMean, Minimum, OverallConfidence, Product
from vlcal.scores.proper import Brier, LogScore, ProperScore, SphericalScore

__all__ = [
    "Brier",
    "HarmonicMean",
    "LogScore",
    "Minimum",
    "OverallConfidence",
    "Product",
    "ProperScore",
    "SphericalScore",
]
