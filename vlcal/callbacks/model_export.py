"""The trained policy as an ordinary checkpoint folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from vlcal.modules import PolicyModule

CHECKPOINT_MARKS = ("config.json", "adapter_config.json")


class ModelExport(Callback):
    """Writes the policy when training has ended, as a folder that transformers or peft loads.

    The folder appears when it is complete, in place of one that an earlier run exported.

    Args:
        folder: Where to; it must be new, empty, or a checkpoint folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse to write over something else before an hour is spent on training."""
        if stage != "fit":
            return
        if not isinstance(pl_module, PolicyModule):
            raise ValueError(f"`ModelExport` writes the policy of a module, and {type(pl_module).__name__} has none.")
        if self.folder.exists() and not self._replaceable():
            raise ValueError(
                f"`folder` must be new, empty, or a checkpoint folder to be replaced; {self.folder} holds something "
                "else. Name a folder inside it."
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the folder beside its place, then move it there."""
        if not trainer.is_global_zero or not isinstance(pl_module, PolicyModule):
            return
        partial, old = (self.folder.with_name(f".{self.folder.name}.{end}") for end in ("partial", "old"))
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
        pl_module.policy.save(partial)
        if self.folder.exists():
            self.folder.rename(old)
        partial.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _replaceable(self) -> bool:
        if not self.folder.is_dir():
            return False
        return not any(self.folder.iterdir()) or any((self.folder / mark).is_file() for mark in CHECKPOINT_MARKS)
