"""Whether the label-free visual certainty tells right from wrong."""

from __future__ import annotations

import math
from collections import deque

from lightning.pytorch import LightningModule, Trainer

from vlcal.callbacks.observer import Observer
from vlcal.evaluation import Outcomes, known_auroc
from vlcal.types import Experience


class CertaintyMonitor(Observer):
    """Logs the AUROC of the measured certainty against correctness and, where it is known, the true reading.

    In training over the latest responses, in evaluation over all. A figure is left out while all are right or all are
    wrong. The measure is the score from before it was normalised, so that steps can be compared.

    Args:
        window: Latest responses that a training figure is made of, in whole batches: at least this many, once seen.
    """

    def __init__(self, window: int = 512) -> None:
        if window < 2:
            raise ValueError(f"`window` must be at least 2, since AUROC compares responses; got {window}.")
        self.window = window
        self._recent: deque[Outcomes] = deque()
        self._judged: list[Outcomes] = []

    def observe(self, trainer: Trainer, pl_module: LightningModule, experience: Experience, stage: str) -> None:
        outcomes = Outcomes.of(experience)
        if stage == "train":
            self._recent.append(outcomes)
            while sum(map(len, self._recent)) - len(self._recent[0]) >= self.window:
                self._recent.popleft()
            figures = certainty_figures(Outcomes.join(tuple(self._recent)), stage)
            pl_module.log_dict(figures, batch_size=len(experience.prompts))
        elif stage != "predict":
            self._judged.append(outcomes)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._judged.clear()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._judged.clear()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_judged(pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_judged(pl_module, "test")

    def _log_judged(self, pl_module: LightningModule, stage: str) -> None:
        if self._judged:
            outcomes = Outcomes.join(self._judged)
            pl_module.log_dict(certainty_figures(outcomes, stage), batch_size=len(outcomes))


def certainty_figures(outcomes: Outcomes, stage: str) -> dict[str, float]:
    """The figures there are, by their names in the log."""
    figures = {
        f"{stage}/certainty/auroc_correct": known_auroc(outcomes.certainty, outcomes.correct),
        f"{stage}/certainty/auroc_read_right": known_auroc(outcomes.certainty, outcomes.read_right),
    }
    return {name: value for name, value in figures.items() if not math.isnan(value)}
