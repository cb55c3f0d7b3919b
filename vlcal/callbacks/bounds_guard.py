"""The end of a run gone wrong: a figure stays outside its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from vlcal.errors import UserError
from vlcal.files import write_whole


class BoundsGuard(Callback):
    """Stops a run when a logged figure has been outside its bounds for some steps, and keeps a checkpoint from before.

    Made for the KL to the reference, the entropy and the length of responses, which show that a policy drifts away,
    stops exploring or writes nonsense:

        bounds:
          train/objective/reference_kl: [0.0, 0.5]
          train/response/entropy: [0.05, .inf]
          train/response/length: [10, 400]

    At the first step outside, the newest checkpoint is kept as in_bounds.ckpt beside it, whatever is saved after it; a
    figure that comes back takes it away again. A figure that is NaN, which stands for none, is inside.

    Args:
        bounds: Lowest and highest value of each figure, by its key in the log.
        patience: Steps in a row outside that stop the run, at least 1.
    """

    KEPT = "in_bounds.ckpt"

    def __init__(self, bounds: Mapping[str, tuple[float, float]], patience: int = 10) -> None:
        for name, (low, high) in bounds.items():
            if not low <= high:
                raise UserError(f"`bounds.{name}` must be a lowest and a highest value; got {low} and {high}.")
        if patience < 1:
            raise UserError(f"`patience` must be at least 1 step outside `bounds`; got {patience}.")
        self.bounds = dict(bounds)
        self.patience = patience
        self._outside = 0  # steps in a row

    def state_dict(self) -> dict[str, Any]:
        """For how many steps a figure was outside."""
        return {"outside": self._outside}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting where a checkpoint left off."""
        self._outside = state_dict["outside"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the figures of a step; those of a skipped one are old.

        Raises:
            UserError: If there is no such figure, or the run is to stop.
        """
        if isinstance(outputs, Mapping) and outputs.get("skipped"):
            return
        outside = self._strays(trainer)
        # One rank may see what another does not.
        if not trainer.strategy.reduce_boolean_decision(bool(outside), all=False):
            self._outside = 0
            self._release(trainer)
            return
        self._outside += 1
        if self._outside == 1:
            self._keep(trainer)
        if self._outside >= self.patience:
            raise UserError(
                f"`bounds`: {'; '.join(outside) or 'a figure of another rank is outside'}, for {self._outside} steps "
                f"in a row. {self._way_out(trainer)}"
            )

    def _strays(self, trainer: Trainer) -> list[str]:
        """The figures outside, in words."""
        figures = trainer.callback_metrics
        if unknown := sorted(self.bounds.keys() - figures.keys()):
            logged = ", ".join(sorted(name for name in figures if name.startswith("train/")))
            raise UserError(f"`bounds` must name figures that are logged; {unknown[0]} is not. There are {logged}.")
        values = {name: float(figures[name]) for name in self.bounds}
        return [
            f"{name} is {values[name]:.4g}, outside [{low:.4g}, {high:.4g}]"
            for name, (low, high) in self.bounds.items()
            if values[name] < low or values[name] > high
        ]

    def _keep(self, trainer: Trainer) -> None:
        newest, kept = self._newest(trainer), self._kept(trainer)
        if trainer.is_global_zero and newest is not None and kept is not None:
            write_whole(kept, newest.read_bytes())

    def _release(self, trainer: Trainer) -> None:
        kept = self._kept(trainer)
        if trainer.is_global_zero and kept is not None:
            kept.unlink(missing_ok=True)

    def _kept(self, trainer: Trainer) -> Path | None:
        keeps = trainer.checkpoint_callback
        return Path(keeps.dirpath) / self.KEPT if isinstance(keeps, ModelCheckpoint) and keeps.dirpath else None

    def _newest(self, trainer: Trainer) -> Path | None:
        """The checkpoint that was written last."""
        folder = self._kept(trainer)
        found = [] if folder is None else [file for file in folder.parent.glob("*.ckpt") if file != folder]
        return max(found, key=lambda file: file.stat().st_mtime, default=None)

    def _way_out(self, trainer: Trainer) -> str:
        kept = self._kept(trainer)
        if kept is None or not kept.exists():
            return "No checkpoint was saved before; lower `optimization.lr`, or widen the bounds."
        return (
            f"The checkpoint from before is {kept}; go on from it with a lower `optimization.lr`, or widen the bounds."
        )
