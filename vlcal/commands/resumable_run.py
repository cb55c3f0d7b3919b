"""What makes a run survive: its last state is kept, and its log goes on where the checkpoint was saved."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from vlcal.callbacks.observer import tensorboards

TERMINATED = 128 + signal.SIGTERM  # as a shell says it


class ResumableRun(Callback):
    """Keeps the last state of a run that saves checkpoints, and its log without a gap and without doubles.

    The state is written as last.ckpt at the end of the run and when the process is told to terminate, which then ends
    with the status of a terminated one. `--ckpt_path last` resumes from the latest.
    """

    def __init__(self) -> None:
        self._saved: int | None = None  # the step of the latest checkpoint

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hide what an earlier run logged in this folder from this step on: it is taken and logged again."""
        for writer in tensorboards(trainer):
            if len([*Path(writer.log_dir).glob("events.*")]) > 1:
                writer.close()  # TensorBoard hides earlier entries by the first one of a file
                writer.purge_step = trainer.fit_loop.total_batch_idx + 1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Write down the figures of the step before, which no checkpoint brings back."""
        _flush(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down the figures of the step before, likewise."""
        _flush(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save at the last step of a run that ends by steps: afterwards Lightning takes its epoch for complete."""
        if trainer.global_step == trainer.max_steps:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what no checkpoint holds yet."""
        self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save before a terminated process ends."""
        if isinstance(exception, SIGTERMException):
            exception.code = TERMINATED
            if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
                if trainer.validating:
                    _rewind_validation(trainer)
                self._save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note which step is saved."""
        self._saved = trainer.global_step

    def _save(self, trainer: Trainer) -> None:
        keeps = trainer.checkpoint_callback
        if isinstance(keeps, ModelCheckpoint) and keeps.dirpath and self._saved != trainer.global_step:
            trainer.save_checkpoint(Path(keeps.dirpath) / f"{keeps.CHECKPOINT_NAME_LAST}{keeps.FILE_EXTENSION}")


def _rewind_validation(trainer: Trainer) -> None:
    """Have the resumed run validate from the first batch: from the middle it would go on without the first figures.

    Lightning takes a validation up again where a batch of it was started and not processed.
    """
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    progress.reset()
    progress.total.ready = progress.total.started = 1  # type: ignore[attr-defined]  # declared below what it is


def _flush(trainer: Trainer) -> None:
    for writer in tensorboards(trainer):
        writer.flush()
