"""AUROC of the label-free visual certainty."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from vlcal.callbacks.observer import Observer
from vlcal.errors import UserError
from vlcal.evaluation.metrics import Ranked, auroc
from vlcal.evaluation.metrics.training import Outcomes
from vlcal.types import Assessment


class CertaintyMonitor(Observer):
    """Logs the AUROC of the measured certainty against correctness and, where it is known, correct perception.

    In training over the latest responses, in evaluation over all. Nothing is logged while all are right or all are
    wrong. The score is the one before normalisation, so that steps can be compared; a response without one,
    which has no visual evidence, is left out.

    Args:
        window: Latest responses of a training metric, in whole batches: at least this many, once there are as many.
    """

    def __init__(self, window: int = 512) -> None:
        if window < 2:
            raise UserError(f"`window` must be at least 2, since AUROC compares responses; got {window}.")
        self.window = window
        self._recent: deque[Outcomes] = deque()
        self._evaluated: list[Outcomes] = []

    def state_dict(self) -> dict[str, Any]:
        """The latest responses of training, a batch after the other."""
        return {
            "recent": [{name: torch.from_numpy(rows) for name, rows in vars(each).items()} for each in self._recent]
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the responses of a checkpoint."""
        batches = ({name: rows.numpy() for name, rows in columns.items()} for columns in state_dict["recent"])
        self._recent = deque(Outcomes(**columns) for columns in batches)

    def observe(self, trainer: Trainer, pl_module: LightningModule, assessment: Assessment, stage: str) -> None:
        outcomes = Outcomes.of(assessment)
        if stage == "train":
            self._recent.append(outcomes)
            while sum(map(len, self._recent)) - len(self._recent[0]) >= self.window:
                self._recent.popleft()
            metrics = certainty_metrics(Outcomes.join(tuple(self._recent)), stage)
            pl_module.log_dict(metrics, batch_size=len(assessment.prompts))
        elif stage != "predict":
            self._evaluated.append(outcomes)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated.clear()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated.clear()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(pl_module, "test")

    def _log(self, pl_module: LightningModule, stage: str) -> None:
        if self._evaluated:
            outcomes = Outcomes.join(self._evaluated)
            pl_module.log_dict(certainty_metrics(outcomes, stage), batch_size=len(outcomes))


def certainty_metrics(outcomes: Outcomes, stage: str) -> dict[str, float]:
    """The AUROCs that are defined, by their names in the log."""
    metrics = {
        f"{stage}/certainty/auroc_correct": auroc(outcomes.certainty, outcomes.correct, Ranked()),
        f"{stage}/certainty/auroc_read_right": auroc(outcomes.certainty, outcomes.perception_correct, Ranked()),
    }
    return {name: value for name, value in metrics.items() if not math.isnan(value)}
