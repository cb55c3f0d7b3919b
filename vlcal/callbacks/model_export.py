"""The trained policy as an ordinary checkpoint folder."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from vlcal.callbacks.model_card import ModelCard, validated
from vlcal.errors import UserError
from vlcal.modules import PolicyModule, ReinforcementModule
from vlcal.policy.folder import refuse_other_content, store_as, write_checkpoint_folder, write_contract


class ModelExport(Callback):
    """Writes the policy when training has ended, as a folder that transformers or peft loads.

    Of a policy with adapters, the adapters alone: another run can go on from them by `adapter` of LoRA or QLoRA, and
    `vlcal export` merges them. README.md beside them is the model card: base, data, prompt, the figures of the run's
    last validation, limits. Of a run from the command line, vlcal.yaml says how `vlcal.load` asks for responses and
    reads them. The folder appears when it is complete, in place of one that an earlier run exported.

    Args:
        folder: Where to; it must be new, empty, or a checkpoint folder.
        dtype: Of the weights as stored: float32, bfloat16 or float16; None leaves them as they were trained.
    """

    def __init__(self, folder: Path, dtype: str | None = None) -> None:
        if dtype is not None and not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise UserError(f"`dtype` must name a torch type such as bfloat16 or float32; got {dtype!r}.")
        self.folder = folder
        self.dtype = dtype
        self._started = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse to write over something else before an hour is spent on training."""
        if stage != "fit":
            return
        if not isinstance(pl_module, PolicyModule):
            raise UserError(f"`ModelExport` writes the policy of a module, and {type(pl_module).__name__} has none.")
        refuse_other_content(self.folder)
        self._started = time.time()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the folder beside its place, then move it there."""
        if trainer.is_global_zero and isinstance(pl_module, PolicyModule):
            record = _record(trainer)
            settings: dict[str, Any] = {}
            if record is not None:
                settings = yaml.safe_load(record.parser.dump(record.config, skip_unset=False))
            data = settings.get("data") or {}
            card = self._card(trainer, pl_module, data, record)

            def write(partial: Path) -> None:
                pl_module.policy.save(partial)
                if self.dtype is not None:
                    store_as(partial, getattr(torch, self.dtype))
                if "pipeline" in settings.get("model", {}).get("init_args", {}):
                    write_contract(partial, settings["model"], data.get("init_args", {}).get("image_size"))
                card.write(partial)

            write_checkpoint_folder(self.folder, write)

    def _card(
        self, trainer: Trainer, module: PolicyModule, data: dict[str, Any], record: SaveConfigCallback | None
    ) -> ModelCard:
        grammar = module.pipeline.reader.grammar if isinstance(module, ReinforcementModule) else None
        command = shlex.join(["vlcal", *getattr(record, "command", [])]) if record else "Trainer.fit, from Python"
        found, why = validated(Path(trainer.default_root_dir), self._started)
        return ModelCard(module.spec.path, data, command, grammar, found, why)


def _record(trainer: Trainer) -> SaveConfigCallback | None:
    """What holds the config of a run that the command line started; None for any other."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((each for each in callbacks if isinstance(each, SaveConfigCallback)), None)
