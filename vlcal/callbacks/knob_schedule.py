"""What every scheduler shares: one setting, changed linearly over a part of training."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer

from vlcal.errors import UserError
from vlcal.modules import ReinforcementModule
from vlcal.training.learner import Update
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling


@runtime_checkable
class HasParts(Protocol):
    """A module with parts whose settings can be changed, as a `ReinforcementModule` is."""

    pipeline: Pipeline
    sampling: Sampling
    update: Update


class KnobSchedule(Callback):
    """Sets one setting of the module before each training batch and logs its value.

    The value is `start` up to `begin`, `end` from `until` on, and linear in between.

    Args:
        start: First value.
        end: Last value.
        begin: Share of training, in [0, 1], at which the value begins to change.
        until: Share of training, in [0, 1] and above `begin`, from which on it is the last one.
    """

    def __init__(self, start: list[float], end: list[float], begin: float = 0.0, until: float = 1.0) -> None:
        if not 0.0 <= begin < until <= 1.0:
            raise UserError(
                f"`begin` and `until` must be shares of training with 0 <= begin < until <= 1; got {begin} and {until}."
            )
        if len(start) != len(end):
            raise UserError(f"`end` must hold as many numbers as `start`; got {len(end)} and {len(start)}.")
        self._start = start
        self._end = end
        self.begin = begin
        self.until = until

    @abstractmethod
    def set(self, module: HasParts, values: list[float]) -> None:
        """Set the values.

        Raises:
            UserError: If this module has no such setting, or a value is out of range; says what to do.
        """

    @abstractmethod
    def get(self, module: HasParts) -> Mapping[str, float]:
        """The values in force, by name in the log."""

    def values(self, progress: float) -> list[float]:
        """The values when this share of training is done."""
        along = min(max((progress - self.begin) / (self.until - self.begin), 0.0), 1.0)
        return [start + along * (end - start) for start, end in zip(self._start, self._end, strict=True)]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what cannot be set before anything heavy is done."""
        if stage == "fit":
            module = parts_of(self, pl_module)
            self.set(module, self._end)
            self.set(module, self._start)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a training without end, of which there are no shares."""
        if math.isnan(share_done(trainer)):
            raise UserError(
                "`trainer.max_steps`, or `trainer.max_epochs` with data that has a length, must say when training "
                f"ends, since {type(self).__name__} moves over shares of it; got neither."
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Set the values of this batch."""
        module = parts_of(self, pl_module)
        self.set(module, self.values(share_done(trainer)))
        metrics = {f"train/schedule/{name}": value for name, value in self.get(module).items()}
        pl_module.log_dict(metrics, batch_size=1)


class NumberSchedule(KnobSchedule):
    """Schedules a setting that is one number.

    Args:
        start: First value.
        end: Last value.
        begin: Share of training, in [0, 1], at which the value begins to change.
        until: Share of training, in [0, 1] and above `begin`, from which on it is the last one.
    """

    def __init__(self, start: float, end: float, begin: float = 0.0, until: float = 1.0) -> None:
        super().__init__([start], [end], begin, until)


def parts_of(callback: Callback, pl_module: LightningModule) -> HasParts:
    """The module, which must be one that has parts to change."""
    if not isinstance(pl_module, HasParts):
        raise UserError(
            f"`{type(callback).__name__}` changes the parts of a module, and {type(pl_module).__name__} has none; use "
            f"it with {ReinforcementModule.__name__}."
        )
    return pl_module


def share_done(trainer: Trainer) -> float:
    """The share of training that is done, in [0, 1], by the end that comes first; NaN if there is no end."""
    shares = []
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    epochs, batches = trainer.max_epochs, trainer.num_training_batches
    if epochs is not None and epochs > 0 and not math.isinf(batches):
        # Lightning declares the class below the one that it makes.
        behind = trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]
        shares.append(behind / max(epochs * batches, 1))
    return min(max(shares), 1.0) if shares else math.nan
