"""How good confidences are: each metric once, as a function of arrays and of bootstrap draws."""

from vlcal.evaluation.metrics.absent import AbsentPolicy, LeaveOut, WrongAndUnsure
from vlcal.evaluation.metrics.binning import Binning, EqualMass, EqualWidth, Nearest, PerValue
from vlcal.evaluation.metrics.calibration import ece_equal_mass, ece_equal_width, ece_per_value, mce, rmsce, smooth_ece
from vlcal.evaluation.metrics.judged import Judged
from vlcal.evaluation.metrics.metric import Better, Metric
from vlcal.evaluation.metrics.outcome import accuracy, mean_confidence, overconfidence, parse_rate
from vlcal.evaluation.metrics.proper import brier, brier_reliability, brier_resolution, brier_uncertainty, log_loss
from vlcal.evaluation.metrics.ranking import auprc, auroc
from vlcal.evaluation.metrics.registry import METRICS
from vlcal.evaluation.metrics.reliability import Reliability, reliability_curve, wilson_interval
from vlcal.evaluation.metrics.selective import (
    RiskCoverage,
    augrc,
    aurc,
    coverage_at_risk_10,
    e_aurc,
    risk_coverage_curve,
)
from vlcal.evaluation.metrics.spread import Correlation, confidence_correlation, distinct_values, value_entropy

__all__ = [
    "METRICS",
    "AbsentPolicy",
    "Better",
    "Binning",
    "Correlation",
    "EqualMass",
    "EqualWidth",
    "Judged",
    "LeaveOut",
    "Metric",
    "Nearest",
    "PerValue",
    "Reliability",
    "RiskCoverage",
    "WrongAndUnsure",
    "accuracy",
    "augrc",
    "auprc",
    "aurc",
    "auroc",
    "brier",
    "brier_reliability",
    "brier_resolution",
    "brier_uncertainty",
    "confidence_correlation",
    "coverage_at_risk_10",
    "distinct_values",
    "e_aurc",
    "ece_equal_mass",
    "ece_equal_width",
    "ece_per_value",
    "log_loss",
    "mce",
    "mean_confidence",
    "overconfidence",
    "parse_rate",
    "reliability_curve",
    "risk_coverage_curve",
    "rmsce",
    "smooth_ece",
    "value_entropy",
    "wilson_interval",
]
