"""Post-hoc calibrators: what a little labelled data can make of the confidences that a model states."""

from vlcal.evaluation.posthoc.base import Calibrator, cross_fitted
from vlcal.evaluation.posthoc.logistic import Beta, Platt, Temperature, WithCertainty
from vlcal.evaluation.posthoc.stepwise import Histogram, Isotonic

__all__ = ["Beta", "Calibrator", "Histogram", "Isotonic", "Platt", "Temperature", "WithCertainty", "cross_fitted"]
