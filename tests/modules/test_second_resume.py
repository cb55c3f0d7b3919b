"""A run that is interrupted again and again, wherever Lightning has its counters, takes the steps of one without a break."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from vlcal.commands.resumable_run import ResumableRun
from vlcal.data.resumable import SeededOrder, resumable_loader

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of Lightning: manual optimization, few workers
ROWS = [torch.tensor([float(row)]) for row in range(8)]
BATCH = 2
EPOCHS = {"max_epochs": 3}
STEPS = {"max_steps": 10, "max_epochs": -1}  # two and a half epochs
EVERY_SECOND = {"check_val_every_n_epoch": None, "val_check_interval": 2}
EVERY_THIRD = {"check_val_every_n_epoch": None, "val_check_interval": 3}
EACH_EPOCH = {"val_check_interval": 1.0}
NO_VALIDATION = {"limit_val_batches": 0}


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
    folder: Path, trace: Trace, settings: dict[str, Any], saves: dict[str, Any], moment: int | None, end: Any
) -> int | None:
    """Fit from the last checkpoint, if there is one; the status of a process that was told to end."""
    keeps = ModelCheckpoint(dirpath=folder, filename="last", enable_version_counter=False, **saves)
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[Journal(trace, moment, end), keeps, ResumableRun()],
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


@pytest.mark.parametrize(
    ("settings", "saves", "end", "moments"),
    [
        # Behind the last batch of an epoch, then in the middle of the next: the second resume began the epoch anew.
        (EPOCHS | NO_VALIDATION, {"every_n_train_steps": 2}, kill, (15, 9, 5)),
        (EPOCHS | NO_VALIDATION, {"every_n_train_steps": 2}, kill, (14, 12, 15)),
        (STEPS | NO_VALIDATION, {"every_n_train_steps": 2}, kill, (15, 9, 5)),
        # In a validation for which a checkpoint was written ahead of it: the validation was left out.
        (EPOCHS | EVERY_SECOND, {"every_n_train_steps": 2}, kill, (9, 5, 21)),
        (EPOCHS | EACH_EPOCH, {"every_n_train_steps": 4}, kill, (16, 3, 20)),
        # Behind an epoch or a validation, where a limit of steps took the epoch for one that goes on.
        (STEPS | NO_VALIDATION, {"save_on_train_epoch_end": True}, kill, (22,)),
        (STEPS | EACH_EPOCH, {}, kill, (27, 14)),
        # Told to end: in a step, in a validation, in a validation that is made up for, ahead of a first batch.
        (EPOCHS | EVERY_THIRD, {"every_n_train_steps": 2}, terminate, (17, 26, 8)),
        (STEPS | EVERY_SECOND, {"every_n_train_steps": 2}, terminate, (3, 26, 3)),
        (EPOCHS | EVERY_SECOND, {}, terminate, (6, 22, 3)),
        (EPOCHS | EVERY_SECOND, {"every_n_train_steps": 2}, terminate, (11, 14, 4)),
    ],
)
def test_a_run_that_is_interrupted_several_times_takes_the_steps_of_one_without_a_break(
    tmp_path: Path, settings: dict[str, Any], saves: dict[str, Any], end: Any, moments: tuple[int, ...]
) -> None:
    sought, found = Trace(), Trace()
    assert run(tmp_path / "straight", sought, settings, saves, None, end) == 0

    ended_by = [run(tmp_path / "broken", found, settings, saves, moment, end) for moment in moments]
    assert ended_by == [None if end is kill else 128 + signal.SIGTERM] * len(moments)
    assert run(tmp_path / "broken", found, settings, saves, None, end) == 0

    assert found.steps == sought.steps and found.validations == sought.validations
    assert found.weights == sought.weights
    assert len(sought.steps) == (12 if settings["max_epochs"] == 3 else 10)
