"""How a stated confidence is judged, and how two of them become one: shared by rewards and objectives."""

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
