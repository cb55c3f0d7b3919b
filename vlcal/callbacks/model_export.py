"""The trained policy as an ordinary checkpoint folder."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from vlcal.errors import UserError
from vlcal.modules import PolicyModule
from vlcal.policy.folder import refuse_other_content, write_checkpoint_folder


class ModelExport(Callback):
    """Writes the policy when training has ended, as a folder that transformers or peft loads.

    Of a policy with adapters, the adapters alone: another run can go on from them by `adapter` of LoRA or QLoRA, and
    `vlcal export` merges them. The folder appears when it is complete, in place of one that an earlier run exported.

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
            raise UserError(f"`ModelExport` writes the policy of a module, and {type(pl_module).__name__} has none.")
        refuse_other_content(self.folder)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the folder beside its place, then move it there."""
        if trainer.is_global_zero and isinstance(pl_module, PolicyModule):
            write_checkpoint_folder(self.folder, pl_module.policy.save)
