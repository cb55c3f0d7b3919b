"""A run of one weight that is interrupted at a moment of its loops; each takes a fraction of a second."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from vlcal.commands.resumable_run import ResumableRun
from vlcal.data.resumable import SeededOrder, resumable_loader

ROWS = [torch.tensor([float(row)]) for row in range(8)]
BATCH = 2


class Killed(BaseException):
    """Ends a process without a chance to save, as SIGKILL does."""


@dataclass
class Trace:
    """What a run did, by step, as the last process that took the step did it."""

    steps: dict[int, tuple[int, int, int, list[float]]] = field(default_factory=dict)
    validations: dict[int, dict[int, list[float]]] = field(default_factory=dict)
    weights: list[float] = field(default_factory=list)


class Fitted(lightning.LightningModule):
    """One weight, updated by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(1, 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.layer(batch).square().mean())
        optimizer.step()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return batch


class Journal(lightning.Callback):
    """Writes down what happens, and ends the process at one of the moments that it counts."""

    def __init__(self, trace: Trace, moment: int | None, end: Callable[[], None]) -> None:
        self.trace, self.moment, self.end = trace, moment, end
        self.moments = 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: torch.Tensor, batch_idx: int) -> None:
        axis = trainer.fit_loop.epoch_loop._batches_that_stepped  # on which loggers lay out what they are given
        self.trace.steps[trainer.global_step] = (trainer.current_epoch, batch_idx, axis, batch[:, 0].tolist())
        self._tick()

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.trace.validations.setdefault(trainer.global_step, {})[batch_idx] = batch[:, 0].tolist()
        self._tick()

    def _tick(self, *_: Any) -> None:
        self.moments += 1
        if self.moments == self.moment:
            self.end()

    on_train_epoch_start = on_before_backward = on_train_batch_end = _tick
    on_validation_batch_start = on_validation_end = on_train_epoch_end = _tick


def kill() -> None:
    raise Killed


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def run(
    folder: Path,
    trace: Trace,
    settings: dict[str, Any],
    saves: dict[str, Any] | None,
    moment: int | None,
    end: Callable[[], None],
) -> int | None:
    """Fit from the last checkpoint, if there is one; the status of a process that was told to end."""
    keeps = ModelCheckpoint(dirpath=folder, filename="last", enable_version_counter=False, **(saves or {}))
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[Journal(trace, moment, end), ResumableRun(), *([] if saves is None else [keeps])],
        enable_checkpointing=saves is not None,
        **settings,
    )
    train = resumable_loader(ROWS, SeededOrder(len(ROWS), 3), BATCH, torch.stack)  # type: ignore[arg-type]
    held_out: Any = DataLoader(ROWS, batch_size=4)  # type: ignore[arg-type]
    last, module = folder / "last.ckpt", Fitted()
    try:
        trainer.fit(module, train, held_out, ckpt_path=last if last.exists() else None)
    except Killed:
        return None
    except SystemExit as ended:
        return int(ended.code or 0)
    trace.weights = torch.cat([weight.detach().flatten() for weight in module.parameters()]).tolist()
    return 0
