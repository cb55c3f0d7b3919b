"""What was answered, one JSON line per response."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

from lightning.pytorch import LightningModule, Trainer

from vlcal.callbacks.observer import Observer
from vlcal.evaluation.completions import completion_rows
from vlcal.types import Experience


class PredictionWriter(Observer):
    """Writes every response of an evaluation, with confidences, verdicts and rewards, as strict JSON lines.

    What is absent or unknown is null. The file appears when it is complete, in place of that of an earlier evaluation.

    Args:
        path: The file. On several ranks each writes its own share, from the second rank on as `NAME.1.jsonl`, ...
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._open(trainer)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer)

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer)

    def observe(self, trainer: Trainer, pl_module: LightningModule, experience: Experience, stage: str) -> None:
        if self._file is not None:
            for row in completion_rows(experience):
                self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._publish(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._publish(trainer)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._publish(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave nothing half-written behind."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial(trainer).unlink(missing_ok=True)

    def _open(self, trainer: Trainer) -> None:
        partial = self._partial(trainer)
        partial.parent.mkdir(parents=True, exist_ok=True)
        # Half a surrogate pair, which UTF-8 cannot hold, becomes its escape, which is how JSON spells it.
        self._file = partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")

    def _publish(self, trainer: Trainer) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial(trainer).replace(self._own(trainer))

    def _own(self, trainer: Trainer) -> Path:
        rank = trainer.global_rank
        return self.path if rank == 0 else self.path.with_suffix(f".{rank}{self.path.suffix}")

    def _partial(self, trainer: Trainer) -> Path:
        own = self._own(trainer)
        return own.with_name(f".{own.name}.partial")
