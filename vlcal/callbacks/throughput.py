"""Time, speed and memory of every step."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vlcal.callbacks.observer import assessment_in

GIB = 2**30


class Throughput(Callback):
    """Logs how long each step and its phases take, its tokens per second, and on a GPU the peak of its memory.

    The loggers alone get these figures, whichever they are: they differ from run to run, where all others follow from
    the seed. Keys: `train/seconds/step`, `sampling`, `scoring` and `update`; `train/speed/tokens_per_second`;
    `train/memory/peak_gib`.
    """

    def __init__(self) -> None:
        self._began = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the clock."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._began = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the step, as often as Lightning logs."""
        assessment = assessment_in(outputs)
        if assessment is None or (trainer.fit_loop.total_batch_idx + 1) % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        step = time.monotonic() - self._began
        phases = {f"train/seconds/{name}": seconds for name, seconds in outputs.get("seconds", {}).items()}
        figures = {"train/seconds/step": step, **phases}
        figures["train/speed/tokens_per_second"] = float(assessment.rollouts.mask.sum()) / step
        if pl_module.device.type == "cuda":
            figures["train/memory/peak_gib"] = torch.cuda.max_memory_allocated(pl_module.device) / GIB
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.fit_loop.total_batch_idx)
