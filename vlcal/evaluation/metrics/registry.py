"""Every metric by its name, in the order in which tables show them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlcal.evaluation.metrics.calibration import (
    ece_equal_mass,
    ece_equal_width,
    ece_per_value,
    hle_calibration_error,
    mce,
    rmsce,
    smooth_ece,
)
from vlcal.evaluation.metrics.descriptive import (
    accuracy,
    distinct_values,
    mean_confidence,
    overconfidence,
    parse_rate,
    value_entropy,
)
from vlcal.evaluation.metrics.metric import Metric
from vlcal.evaluation.metrics.proper import brier, brier_reliability, brier_resolution, brier_uncertainty, log_loss
from vlcal.evaluation.metrics.ranking import augrc, auprc, aurc, auroc, coverage_at_risk_10, e_aurc, within_auroc

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            accuracy,
            mean_confidence,
            overconfidence,
            ece_equal_width,
            ece_equal_mass,
            ece_per_value,
            smooth_ece,
            mce,
            rmsce,
            hle_calibration_error,
            brier,
            brier_reliability,
            brier_resolution,
            brier_uncertainty,
            log_loss,
            auroc,
            within_auroc,
            auprc,
            aurc,
            e_aurc,
            augrc,
            coverage_at_risk_10,
            distinct_values,
            value_entropy,
            parse_rate,
        )
    }
)
"""Every metric of the table by name, in the order in which tables show them."""
