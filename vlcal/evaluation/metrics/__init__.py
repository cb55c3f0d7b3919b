"""How good confidences are: each metric once, as a function of arrays and of bootstrap draws; no torch."""

from vlcal.evaluation.metrics.binning import Binning, EqualMass, EqualWidth, Nearest, PerValue
from vlcal.evaluation.metrics.calibration import (
    Reliability,
    ece_equal_mass,
    ece_equal_width,
    ece_per_value,
    mce,
    reliability_curve,
    rmsce,
    smooth_ece,
    wilson_interval,
)
from vlcal.evaluation.metrics.descriptive import (
    Correlation,
    accuracy,
    confidence_correlation,
    distinct_values,
    mean_confidence,
    overconfidence,
    parse_rate,
    value_entropy,
)
from vlcal.evaluation.metrics.metric import Better, Metric
from vlcal.evaluation.metrics.proper import brier, brier_reliability, brier_resolution, brier_uncertainty, log_loss
from vlcal.evaluation.metrics.ranking import (
    RiskCoverage,
    augrc,
    auprc,
    aurc,
    auroc,
    coverage_at_risk_10,
    e_aurc,
    risk_coverage_curve,
)
from vlcal.evaluation.metrics.registry import METRICS
from vlcal.evaluation.metrics.responses import AbsentPolicy, LeastSure, LeaveOut, ScoredResponses, WrongAndUnsure

__all__ = [
    "METRICS",
    "AbsentPolicy",
    "Better",
    "Binning",
    "Correlation",
    "EqualMass",
    "EqualWidth",
    "LeastSure",
    "LeaveOut",
    "Metric",
    "Nearest",
    "PerValue",
    "Reliability",
    "RiskCoverage",
    "ScoredResponses",
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
