"""What makes a run survive: its last state is kept, and its log goes on where the checkpoint was saved."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from vlcal.callbacks.event_files import go_on, tensorboards
from vlcal.modules.loop_state import settle
from vlcal.modules.preemption import EndSignals
from vlcal.training.ranks import from_all

ENDED_BY = 128  # plus the number of the signal, as a shell says it


class ResumableRun(Callback):
    """Keeps the last state of a run that saves checkpoints, and its log without a gap and without doubles.

    The state is written as last.ckpt at the end of the run. Where the process is told to end, by SIGTERM or SIGUSR1, it
    is written behind the step or the batch of a validation that runs, and the process ends with the status of one that
    the signal ended. `--ckpt_path last` resumes from the latest.

    Under SLURM, where Lightning is set to requeue (`SLURMEnvironment(auto_requeue=True)`, its default), SIGUSR1 also
    has the job queued again.
    """

    def __init__(self) -> None:
        self._saved: int | None = None  # the step of the latest checkpoint
        self._figures: dict[str, float] = {}  # of the step that the checkpoint was saved behind
        self._signals = EndSignals()
        self._asks_in_validation = True

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to signals from here on, where Lightning has its own handlers in place."""
        self._signals.listen(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hide what an earlier fit logged in this folder and this one does and logs again."""
        self._signals.listen(trainer)
        batches = trainer.fit_loop.epoch_loop.batch_progress.total
        done = batches.processed  # type: ignore[attr-defined]  # declared below what it is
        for writer in tensorboards(trainer):
            go_on(writer, done, validation_due=0 < done == batches.completed, last=self._figures)
        epochs = trainer.fit_loop.epoch_progress.current
        if epochs.started == epochs.processed:  # type: ignore[attr-defined]  # declared below what it is
            trainer.fit_loop.reset_restart_stage()  # or Lightning would not count the epoch that begins as begun

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Write down the figures of the step before, which no checkpoint brings back."""
        _flush(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down the figures of the step before, likewise; ranks of unequally many batches cannot agree in it."""
        _flush(trainer)
        self._asks_in_validation = len({str(batches) for batches in from_all(trainer.num_val_batches)}) == 1

    def on_validation_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Have the run end here if it was told to."""
        if self._asks_in_validation and trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._end_if_told(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Have the run end here if it was told to; save its last step, if steps limit it, ahead of a validation."""
        self._end_if_told(trainer)
        if trainer.global_step == trainer.max_steps:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what no checkpoint holds yet."""
        self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save before a process that was told to ends."""
        if not isinstance(exception, SIGTERMException):
            return
        exception.code = ENDED_BY + (self._signals.agreed or signal.SIGTERM)
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._save(trainer)
            if trainer.is_global_zero:
                self._requeue(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note which step is saved, and save the place of the run so that it is resumed exactly."""
        self._saved = trainer.global_step
        if trainer.state.fn == TrainerFn.FITTING and "loops" in checkpoint:
            checkpoint["figures"] = self._unlogged(trainer)
            settle(checkpoint["loops"]["fit_loop"], trainer.num_training_batches, self._validation_due(trainer))
            _flush(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up what was noted."""
        self._saved = checkpoint["global_step"]
        self._figures = checkpoint.get("figures", {})

    def _unlogged(self, trainer: Trainer) -> dict[str, float]:
        """The figures of the batch that just ended, which Lightning logs once all callbacks were told of its end."""
        logs = trainer._logger_connector
        if not self._batch_ended(trainer) or not logs.should_update_logs:
            return {}
        return {**convert_tensors_to_scalars(logs.metrics["log"]), "epoch": trainer.current_epoch}

    def _validation_due(self, trainer: Trainer) -> bool:
        """Whether a validation is under way, or stands between the batch that just ended and the next."""
        if trainer.validating:
            return trainer.interrupted  # otherwise it is over, and the callbacks that save behind it do so
        fetcher, stops = trainer.fit_loop._data_fetcher, trainer.should_stop
        if not self._batch_ended(trainer) or stops or fetcher is None:
            return False
        return trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)

    def _batch_ended(self, trainer: Trainer) -> bool:
        """Whether callbacks are being told of the end of a batch."""
        counts = trainer.fit_loop.epoch_loop.batch_progress.current
        return bool(counts.completed < counts.processed)  # type: ignore[attr-defined]  # declared below what it is

    def _end_if_told(self, trainer: Trainer) -> None:
        if self._signals.agree():
            trainer._signal_connector.received_sigterm = True  # Lightning leaves its loops where all counters agree

    def _requeue(self, trainer: Trainer) -> None:
        if self._last(trainer) is None:
            rank_zero_warn(
                "The run saved nothing, and is not queued again: give `trainer.callbacks` a ModelCheckpoint."
            )
        else:
            self._signals.requeue()

    def _last(self, trainer: Trainer) -> Path | None:
        """Where the last state belongs; None in a run that saves no checkpoints."""
        keeps = trainer.checkpoint_callback
        if not isinstance(keeps, ModelCheckpoint) or not keeps.dirpath:
            return None
        return Path(keeps.dirpath) / f"{keeps.CHECKPOINT_NAME_LAST}{keeps.FILE_EXTENSION}"

    def _save(self, trainer: Trainer) -> None:
        path = self._last(trainer)
        if path is not None and self._saved != trainer.global_step:
            trainer.save_checkpoint(path)


def _flush(trainer: Trainer) -> None:
    for writer in tensorboards(trainer):
        writer.flush()
