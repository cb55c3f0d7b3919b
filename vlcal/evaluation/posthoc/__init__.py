"""Post-hoc calibrators: what a little data can make of the confidences that a model states."""

from vlcal.evaluation.posthoc.base import Calibrator, Identity
from vlcal.evaluation.posthoc.crossfit import cross_fitted
from vlcal.evaluation.posthoc.logistic import Beta, Platt, Temperature, WithCertainty
from vlcal.evaluation.posthoc.stepwise import Histogram, Isotonic
from vlcal.evaluation.posthoc.storage import CALIBRATORS, from_json

__all__ = [
    "CALIBRATORS",
    "Beta",
    "Calibrator",
    "Histogram",
    "Identity",
    "Isotonic",
    "Platt",
    "Temperature",
    "WithCertainty",
    "cross_fitted",
    "from_json",
]
