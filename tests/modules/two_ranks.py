"""A run on as many ranks as asked for; each writes down what it saw. Started by test_distributed.py."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, SequentialSampler

from tests.modules.marked import MarkedReader
from vlcal.certainty import PlattCertainty
from vlcal.data.resumable import TableOrder, resumable_loader
from vlcal.evaluation.metrics.training import TRUTHS
from vlcal.modules import ReinforcementModule
from vlcal.objectives import ExactReferenceKL, ExpectedScore
from vlcal.policy import GroupEngine, LoRA, Policy, PolicySpec
from vlcal.record_rows import mapped
from vlcal.rewards import AccuracyReward, VisualReward
from vlcal.text import Grammar
from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling
from vlcal.types import PromptBatch, Responses, Rollouts

LONG = " and what is the first" * 6  # in questions of batches that one of two ranks gets: it needs more passes
BUDGET = 120  # tokens


class Speaking(MarkedReader):
    """Reads nothing in the completions of some prompts: a rank that has only those has no valid response."""

    def read(self, policy: Policy, prompts: PromptBatch, rollouts: Rollouts) -> Responses:
        said = super().read(policy, prompts, rollouts)
        spoken = torch.tensor([not name.startswith("silent") for name in prompts.ids])
        spoken = spoken.repeat_interleave(rollouts.group_size)
        stated = {kind: getattr(said, kind).masked_fill(~spoken, torch.nan) for kind in TRUTHS}
        spans = mapped(said.spans, lambda span: span & spoken[:, None], lambda kept: kept)
        return replace(said, **stated, spans=spans)


class Notes(lightning.Callback):
    """Keeps what a rank validated before it learned; its prompts, passes and gradients; the figures it logged."""

    def __init__(self) -> None:
        self.prompts: list[tuple[str, ...]] = []
        self.passes: list[int] = []
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.labels: list[torch.Tensor] = []
        self.figures: list[dict[str, float]] = []
        self.texts: dict[str, tuple[str, ...]] = {}

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: PromptBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.texts[batch.ids[0]] = outputs["assessment"].rollouts.texts

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: PromptBatch, batch_idx: int) -> None:
        self.prompts.append(batch.ids)
        self.passes.append(0)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
        self.passes[-1] += 1

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        learning = {name: weight for name, weight in pl_module.policy.named_parameters() if weight.requires_grad}
        self.gradients.append({name: weight.grad.clone() for name, weight in learning.items()})

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.labels.append(outputs["assessment"].certainty.response)
        self.figures.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def batch(row: int) -> PromptBatch:
    """The batch of this number; odd ones have a second prompt and both are long, every fourth is silent."""
    size = 1 + row % 2
    kind = "silent" if row % 4 == 1 else "spoken"
    images = [torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(row + place)) for place in range(size)]
    return PromptBatch(
        ids=tuple(f"{kind} {row}{' again' * place}" for place in range(size)),
        images=tuple((image,) for image in images),
        questions=("What is the first" + LONG * (size - 1),) * size,
        targets=("1",) * size,
        extras=({},) * size,
    )


def as_one(batches: list[PromptBatch]) -> PromptBatch:
    """The batches of all ranks as the batch of one process: the first prompts of all, then the second ones."""
    dealt = sorted((place, rank) for rank, part in enumerate(batches) for place in range(len(part)))
    parts = [batches[rank].select([place]) for place, rank in dealt]
    return PromptBatch(**{f.name: sum((getattr(part, f.name) for part in parts), ()) for f in fields(PromptBatch)})


class Given(lightning.LightningDataModule):
    """Batches to learn from and to be validated, each in its order."""

    def __init__(self, train: list[PromptBatch], held_out: list[PromptBatch]) -> None:
        super().__init__()
        self.train, self.held_out = train, held_out

    def train_dataloader(self) -> Any:
        return resumable_loader(self.train, TableOrder(len(self.train)), 1, _only)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        order = SequentialSampler(self.held_out)
        return DataLoader(self.held_out, batch_size=1, sampler=order, collate_fn=_only)  # type: ignore[arg-type]


def main(checkpoint: str, folder: str, ranks: int) -> None:
    """Validate on three prompts; fit on two steps; fit again on the first of them, in an update for each prompt."""
    lightning.seed_everything(0, verbose=False)
    module = ReinforcementModule(
        PolicySpec(checkpoint, LoRA(2), dtype="float32"),
        Pipeline(
            Speaking(Grammar(instructions="")),
            {"accuracy": AccuracyReward(), "visual": VisualReward()},
            certainty=PlattCertainty(),
        ),
        Sampling(16, GroupEngine(9), GroupEngine(9), chunk_prompts=1),
        Update(confidence=ExpectedScore(), reference_kl=ExactReferenceKL(), token_budget=BUDGET),
        Optimization(lr=1e-9, clip=math.inf),  # so that both steps find the same weights
    )
    module.configure_model()
    torch.manual_seed(0)
    with torch.no_grad():  # fresh adapters are 0, and half of the gradient too
        for name, weight in module.policy.named_parameters():
            weight.add_(0.05 * torch.randn(weight.shape)) if "lora_B" in name else None
    held_out, steps = [batch(row) for row in (100, 102, 104)], [[batch(0), batch(1)], [batch(3), batch(7)]]
    given = [part for step in steps for part in step] if ranks > 1 else [as_one(step) for step in steps]
    notes, apart = Notes(), Notes()
    trainer = trained_by(ranks, notes)
    (before,) = trainer.validate(module, datamodule=Given(given, held_out), verbose=False)
    trainer.fit(module, datamodule=Given(given, held_out))
    remembered = module.pipeline.state_dict()
    module.update.minibatch_prompts = 1
    trained_by(ranks, apart).fit(module, datamodule=Given(given[:ranks], held_out))
    kept = {name: getattr(notes, name) for name in ("prompts", "passes", "gradients", "labels", "figures", "texts")}
    noted = {**kept, "before": before, "remembered": remembered, "weights": module.state_dict()}
    torch.save({**noted, "updates": len(apart.gradients)}, Path(folder) / f"rank{trainer.global_rank}.pt")


def trained_by(ranks: int, notes: Notes) -> lightning.Trainer:
    """What runs on as many ranks."""
    return lightning.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        max_epochs=1,
        num_sanity_val_steps=0,
        limit_val_batches=3,
        callbacks=[notes],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _only(batch: list[PromptBatch]) -> PromptBatch:
    return batch[0]


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
