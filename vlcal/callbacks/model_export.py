"""The trained policy as an ordinary checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from vlcal.errors import UserError
from vlcal.modules import PolicyModule
from vlcal.policy.folder import refuse_other_content, write_checkpoint_folder, write_contract


class ModelExport(Callback):
    """Writes the policy when training has ended, as a folder that transformers or peft loads.

    Of a policy with adapters, the adapters alone: another run can go on from them by `adapter` of LoRA or QLoRA, and
    `vlcal export` merges them. Of a run from the command line, vlcal.yaml says beside them how `vlcal.load` asks for
    responses and reads them. The folder appears when it is complete, in place of one that an earlier run exported.

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
            policy, settings = pl_module.policy, _settings(trainer)

            def write(partial: Path) -> None:
                policy.save(partial)
                if settings is not None:
                    image_size = (settings.get("data") or {}).get("init_args", {}).get("image_size")
                    write_contract(partial, settings["model"], image_size)

            write_checkpoint_folder(self.folder, write)


def _settings(trainer: Trainer) -> dict[str, Any] | None:
    """The config of a run that the command line started and that reads responses; None for any other."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SaveConfigCallback):
            settings: dict[str, Any] = yaml.safe_load(callback.parser.dump(callback.config, skip_unset=False))
            return settings if "pipeline" in settings["model"].get("init_args", {}) else None
    return None
