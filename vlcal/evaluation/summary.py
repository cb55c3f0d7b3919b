"""The figures of one evaluation."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.evaluation.outcomes import Outcomes
from vlcal.functional.calibration import auroc, expected_calibration_error, reliability_bins_equal_width
from vlcal.functional.scoring import brier_score

UNSURE = 0.5
RIGHT = 0.5  # AUROC knows right and wrong only: a verdict in between counts as right from here on


def summarize(outcomes: Outcomes) -> dict[str, float]:
    """Accuracy, calibration and discrimination of each confidence against its own truth.

    ECE has ten bins of equal width. A response whose confidence is absent counts as wrong and unsure (0.5): it is
    never dropped. Where nobody knows the truth, the figure is NaN.
    """
    figures = {
        "n": float(len(outcomes)),
        "accuracy": _mean(outcomes.correct),
        "parse_rate": _mean(outcomes.well_formed),
        "read_rate": _mean(outcomes.read_right),
        "reasoning_rate": _mean(outcomes.reasoned_right),
        "mean_overall": _mean(outcomes.overall),
        "mean_visual": _mean(outcomes.visual),
        "mean_reasoning": _mean(outcomes.reasoning),
    }
    figures |= _of_confidence("", outcomes.overall, outcomes.correct)
    figures |= _of_confidence("visual_", outcomes.visual, outcomes.read_right)
    figures |= _of_confidence("reasoning_", outcomes.reasoning, outcomes.reasoned_right)
    figures["certainty_auroc"] = known_auroc(outcomes.certainty, outcomes.read_right)
    figures["clearness_auroc"] = known_auroc(outcomes.clearness, outcomes.read_right)
    figures["clearness_overall_auroc"] = known_auroc(outcomes.clearness, outcomes.correct)
    return figures


def settled(
    confidence: Float[Tensor, " N"], truth: Float[Tensor, " N"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """The rows whose truth is known; a response whose confidence is absent counts there as wrong and unsure (0.5)."""
    known = ~truth.isnan()
    stated, outcome = confidence[known], truth[known]
    return stated.nan_to_num(UNSURE), torch.where(stated.isnan(), 0.0, outcome)


def _of_confidence(prefix: str, confidence: Float[Tensor, " N"], truth: Float[Tensor, " N"]) -> dict[str, float]:
    stated, outcome = settled(confidence, truth)
    if not len(stated):
        return dict.fromkeys((f"{prefix}ece", f"{prefix}auroc", f"{prefix}brier"), math.nan)
    return {
        f"{prefix}ece": float(expected_calibration_error(reliability_bins_equal_width(stated, outcome))),
        f"{prefix}auroc": float(auroc(stated, (outcome >= RIGHT).float())),
        f"{prefix}brier": float(brier_score(stated, outcome).mean()),
    }


def known_auroc(score: Float[Tensor, " N"], truth: Float[Tensor, " N"]) -> float:
    """AUROC over the rows where both are known; a response without the score counts as the least sure."""
    known = ~truth.isnan()
    if not known.any() or score[known].isnan().all():
        return math.nan
    lowest = float(score[~score.isnan()].min()) - 1
    return float(auroc(score[known].nan_to_num(lowest), (truth[known] >= RIGHT).float()))


def _mean(values: Float[Tensor, " N"]) -> float:
    return float(values[~values.isnan()].mean()) if (~values.isnan()).any() else math.nan
