"""Every metric of the table, in the order in which tables show them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlcal.evaluation.metrics import calibration, outcome, proper, ranking, selective, spread
from vlcal.evaluation.metrics.metric import Metric

_ORDER = (
    outcome.accuracy,
    outcome.mean_confidence,
    outcome.overconfidence,
    calibration.ece_equal_width,
    calibration.ece_equal_mass,
    calibration.ece_per_value,
    calibration.smooth_ece,
    calibration.mce,
    calibration.rmsce,
    proper.brier,
    proper.brier_reliability,
    proper.brier_resolution,
    proper.brier_uncertainty,
    proper.log_loss,
    ranking.auroc,
    ranking.auprc,
    selective.aurc,
    selective.e_aurc,
    selective.augrc,
    selective.coverage_at_risk_10,
    spread.distinct_values,
    spread.value_entropy,
    outcome.parse_rate,
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ORDER})
