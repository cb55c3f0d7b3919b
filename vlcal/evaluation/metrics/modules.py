"""The metrics for a training loop: states that add up over batches and ranks, around the same functions."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric as TorchMetric
from torchmetrics.utilities import dim_zero_cat

from vlcal.evaluation.metrics.absent import AbsentPolicy, WrongAndUnsure
from vlcal.evaluation.metrics.levels import Rows
from vlcal.evaluation.metrics.registry import METRICS


class CalibrationMetrics(TorchMetric):
    """Every metric of `METRICS` over all batches and ranks, without intervals.

    It keeps two numbers per response, since most of the figures cannot be averaged over batches.

    Args:
        absent: How responses without a confidence (NaN) are scored.
    """

    is_differentiable = False
    full_state_update = False
    confidence: list[Tensor]
    correct: list[Tensor]

    def __init__(self, absent: AbsentPolicy = WrongAndUnsure(), **settings: Any) -> None:
        super().__init__(**settings)
        self.absent = absent
        self.add_state("confidence", default=[], dist_reduce_fx="cat")
        self.add_state("correct", default=[], dist_reduce_fx="cat")

    def update(self, confidence: Float[Tensor, " N"], correct: Float[Tensor, " N"]) -> None:
        """Takes in one batch; NaN where a confidence is absent or an outcome unknown."""
        # A refusal belongs to the batch that caused it, not to the end of the epoch.
        Rows(_array(confidence), _array(correct), self.absent)
        self.confidence.append(confidence.detach())
        self.correct.append(correct.detach())

    def compute(self) -> dict[str, Tensor]:
        """Metric name -> value over everything so far."""
        stated, outcome = (
            _array(dim_zero_cat(state)) if len(state) else torch.empty(0).numpy()
            for state in (self.confidence, self.correct)
        )
        levels = Rows(stated, outcome, self.absent).once()
        return {name: torch.tensor(float(metric.of(levels)[0]), device=self.device) for name, metric in METRICS.items()}


def _array(values: Tensor) -> Any:
    return values.detach().double().cpu().numpy()
