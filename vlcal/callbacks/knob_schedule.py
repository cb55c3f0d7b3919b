"""What every scheduler shares: one knob, moved in a straight line over a part of training."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping

from lightning.pytorch import Callback, LightningModule, Trainer

from vlcal.modules import ReinforcementModule
from vlcal.pipeline import Pipeline


class KnobSchedule(Callback):
    """Moves one knob of the pipeline before each training batch and logs where it stands.

    Up to `begin` the knob stands at its start, from `until` on at its end, on a straight line between.

    Args:
        start: Where the knob stands first.
        end: Where it stands last.
        begin: Share of training, in [0, 1], at which it begins to move.
        until: Share of training, in [0, 1] and above `begin`, at which it has arrived.
    """

    def __init__(self, start: list[float], end: list[float], begin: float = 0.0, until: float = 1.0) -> None:
        if not 0.0 <= begin < until <= 1.0:
            raise ValueError(
                f"`begin` and `until` must be shares of training with 0 <= begin < until <= 1; got {begin} and {until}."
            )
        if len(start) != len(end):
            raise ValueError(f"`end` must hold as many numbers as `start`; got {len(end)} and {len(start)}.")
        self._start = start
        self._end = end
        self.begin = begin
        self.until = until

    @abstractmethod
    def turn(self, pipeline: Pipeline, values: list[float]) -> None:
        """Set the knob.

        Raises:
            ValueError: If this pipeline has no such knob, or it cannot stand there; says what to do.
        """

    @abstractmethod
    def read(self, pipeline: Pipeline) -> Mapping[str, float]:
        """Where the knob stands now, by name in the log."""

    def values(self, progress: float) -> list[float]:
        """Where the knob belongs when this share of training is done."""
        along = min(max((progress - self.begin) / (self.until - self.begin), 0.0), 1.0)
        return [start + along * (end - start) for start, end in zip(self._start, self._end, strict=True)]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what cannot be moved before anything heavy is done."""
        if stage == "fit":
            pipeline = pipeline_of(self, pl_module)
            self.turn(pipeline, self._end)
            self.turn(pipeline, self._start)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a training without end, of which there are no shares."""
        if math.isnan(share_done(trainer)):
            raise ValueError(
                "`trainer.max_steps`, or `trainer.max_epochs` with data that has a length, must say when training "
                f"ends, since {type(self).__name__} moves over shares of it; got neither."
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Move the knob."""
        pipeline = pipeline_of(self, pl_module)
        self.turn(pipeline, self.values(share_done(trainer)))
        figures = {f"train/schedule/{name}": value for name, value in self.read(pipeline).items()}
        pl_module.log_dict(figures, batch_size=1)


def pipeline_of(callback: Callback, pl_module: LightningModule) -> Pipeline:
    """The pipeline of a module that has one."""
    pipeline = getattr(pl_module, "pipeline", None)
    if not isinstance(pipeline, Pipeline):
        raise ValueError(
            f"`{type(callback).__name__}` changes the pipeline of a module, and {type(pl_module).__name__} has none; "
            f"use it with {ReinforcementModule.__name__}."
        )
    return pipeline


def share_done(trainer: Trainer) -> float:
    """The share of training that lies behind, in [0, 1], towards whichever end comes first; NaN if there is no end."""
    shares = []
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    epochs, batches = trainer.max_epochs, trainer.num_training_batches
    if epochs is not None and epochs > 0 and not math.isinf(batches):
        # Lightning declares the class below the one that it makes.
        behind = trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]
        shares.append(behind / max(epochs * batches, 1))
    return min(max(shares), 1.0) if shares else math.nan
