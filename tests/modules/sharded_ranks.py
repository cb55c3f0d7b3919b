"""Runs on ranks that share the weights, or on one process; each writes down what it saw. See test_sharded.py."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests.modules.two_ranks import BUDGET, Given, Notes, Speaking, as_one, batch
from vlcal.callbacks import ModelExport
from vlcal.modules import ReinforcementModule
from vlcal.modules.checkpoints import WholeCheckpoints
from vlcal.modules.sharded import ShardedStrategy
from vlcal.objectives import ExactReferenceKL, ExpectedScore
from vlcal.policy import (
    AdapterOff,
    FrozenCopy,
    GroupEngine,
    LanguageModel,
    LoRA,
    PolicySpec,
    QLoRA,
    RecomputedActivations,
)
from vlcal.policy.sharding import whole
from vlcal.rewards import AccuracyReward, VisualReward
from vlcal.text import Grammar
from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling

ADAPTATIONS = {
    "lora": (LoRA(2), AdapterOff),
    "full": (LanguageModel(), FrozenCopy),
    "qlora": (QLoRA(2), AdapterOff),
}


class WholeNotes(Notes):
    """Notes of whole gradients and of which weights are in parts."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        learning = {name: weight for name, weight in pl_module.policy.named_parameters() if weight.requires_grad}
        self.gradients.append({name: whole(weight.grad).clone() for name, weight in learning.items()})


def module_of(checkpoint: str, kind: str, lr: float) -> ReinforcementModule:
    """A module with weights that are equal on all ranks and whose adapters are not 0."""
    adaptation, reference = ADAPTATIONS[kind]
    activations = RecomputedActivations(2)
    module = ReinforcementModule(
        PolicySpec(checkpoint, adaptation, dtype="float32", activations=activations),
        Pipeline(Speaking(Grammar(instructions="")), {"accuracy": AccuracyReward(), "visual": VisualReward()}),
        Sampling(4, GroupEngine(9), GroupEngine(9)),
        Update(confidence=ExpectedScore(), reference_kl=ExactReferenceKL(), reference=reference(), token_budget=BUDGET),
        Optimization(lr=lr, clip=math.inf),
    )
    torch.manual_seed(1 + int(os.environ.get("LOCAL_RANK", "0")))  # what is drawn shall be that of the first rank
    module.configure_model()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in module.policy.named_parameters():
            weight.add_(0.05 * torch.randn(weight.shape)) if "lora_B" in name else None
    return module


def trained_by(ranks: int, *callbacks: lightning.Callback, epochs: int = 1) -> lightning.Trainer:
    """What runs on as many ranks."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=ShardedStrategy() if ranks > 1 else "auto",
        max_epochs=epochs,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=any(isinstance(one, ModelCheckpoint) for one in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.strategy.checkpoint_io = WholeCheckpoints()
    return trainer


def main(checkpoint: str, folder: str, ranks: int, kind: str) -> None:
    """Validate; fit on two steps that move nothing; fit on two steps that do, at once and resumed in between."""
    torch.set_num_threads(1)
    lightning.seed_everything(0, verbose=False)
    held_out, steps = [batch(row) for row in (100, 102, 104, 106)], [[batch(0), batch(1)], [batch(3), batch(7)]]
    given = [part for step in steps for part in step] if ranks > 1 else [as_one(step) for step in steps]
    data, notes, where = Given(given, held_out), WholeNotes(), Path(folder)
    module = module_of(checkpoint, kind, lr=1e-9)
    trainer = trained_by(ranks, notes)
    (before,) = trainer.validate(module_of(checkpoint, kind, lr=1e-9), datamodule=data, verbose=False)
    trainer.fit(module, datamodule=data)

    learned, saved = (
        module_of(checkpoint, kind, lr=1e-3),
        ModelCheckpoint(where / "kept", every_n_train_steps=1, save_top_k=-1),
    )
    trained_by(ranks, saved, ModelExport(where / "export")).fit(learned, datamodule=data)
    weights = {name: whole(value).clone() for name, value in learned.state_dict().items()}
    resumed = module_of(checkpoint, kind, lr=1e-3)
    first = next(path for path in sorted((where / "kept").iterdir()) if "step=1" in path.name)
    trained_by(ranks).fit(resumed, datamodule=data, ckpt_path=first)
    again = {name: whole(value).clone() for name, value in resumed.state_dict().items()}
    held = sum(weight.to_local().numel() for weight in learned.parameters() if hasattr(weight, "to_local"))
    parts = sum(weight.numel() for weight in learned.parameters() if hasattr(weight, "to_local"))
    kept = {name: getattr(notes, name) for name in ("prompts", "passes", "gradients", "figures", "texts")}
    noted = {**kept, "before": before, "weights": weights, "again": again, "held": held, "parts": parts}
    torch.save(noted, where / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    except ValueError as refusal:
        Path(sys.argv[2], "refusal.json").write_text(json.dumps(str(refusal)))
        raise
