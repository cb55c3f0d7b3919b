"""Progress with reward, accuracy and ECE."""

from __future__ import annotations

import time
from collections import deque
from datetime import timedelta
from typing import Any, NamedTuple

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from vlcal.callbacks.knob_schedule import share_done
from vlcal.callbacks.observer import assessment_in
from vlcal.errors import UserError
from vlcal.evaluation.metrics.training import Outcomes, summarize


class Step(NamedTuple):
    """The results of one training batch."""

    outcomes: Outcomes
    reward: float
    tokens: int
    seconds: float


class ProgressBar(RichProgressBar):
    """Shows reward, accuracy, ECE, completion tokens per second and the time left of the whole training.

    Args:
        steps: Latest training batches that the metrics are computed over.
        refresh_rate: Training batches from one refresh to the next; 0 shows nothing.
        leave: Keep the bar of each epoch on the screen.
    """

    def __init__(self, steps: int = 10, refresh_rate: int = 1, leave: bool = False) -> None:
        if steps < 1:
            raise UserError(f"`steps` must be at least 1; got {steps}.")
        super().__init__(refresh_rate=refresh_rate, leave=leave)
        self._latest: deque[Step] = deque(maxlen=steps)
        self._began = self._batch_began = 0.0
        self._began_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._latest.clear()
        self._began = time.monotonic()
        self._began_at = share_done(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self._batch_began = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assessment = assessment_in(outputs)
        if assessment is not None:
            self._latest.append(
                Step(
                    outcomes=Outcomes.of(assessment),
                    reward=float(assessment.rewards.total.mean()),
                    tokens=int(assessment.rollouts.mask.sum()),
                    seconds=time.monotonic() - self._batch_began,
                )
            )
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The metrics to show."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        if trainer.state.fn != TrainerFn.FITTING:
            return shown
        if self._latest:
            metrics = summarize(Outcomes.join([step.outcomes for step in self._latest]))
            seconds = max(sum(step.seconds for step in self._latest), 1e-9)
            shown |= {
                "reward": sum(step.reward for step in self._latest) / len(self._latest),
                "accuracy": metrics["accuracy"],
                "ece": metrics["ece"],
                "tokens/s": f"{sum(step.tokens for step in self._latest) / seconds:.0f}",
            }
        return shown | {"left": self._left(trainer)}

    def _left(self, trainer: Trainer) -> str:
        """The time left at the pace since training began, evaluations included."""
        done = share_done(trainer)
        made = done - self._began_at
        if not made > 0:  # no batch is done yet, or training has no end
            return "?"
        seconds = (time.monotonic() - self._began) * (1 - done) / made
        return str(timedelta(seconds=round(seconds)))
