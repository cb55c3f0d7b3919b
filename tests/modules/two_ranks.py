"""A run on as many ranks as asked for; each writes down what it saw. Started by test_distributed.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, SequentialSampler

from vlcal.advantages import ResponseAdvantage
from vlcal.modules import ReinforcementModule
from vlcal.policy import GroupEngine, LoRA, PolicySpec
from vlcal.rewards import Attempts, Reward
from vlcal.text import Grammar
from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import Sampling
from vlcal.types import PromptBatch

LONG = " and what is the first" * 6  # in questions that one of two ranks gets, so that it needs more passes
BUDGET = 120  # tokens


class EverySecond(Reward):
    """1 for every second completion of a group: something to learn, whatever a policy of random weights writes."""

    def __call__(self, attempts: Attempts) -> torch.Tensor:
        return (torch.arange(len(attempts)) % 2).float()


class Notes(lightning.Callback):
    """Keeps the prompts, passes and gradients of a rank, and the figures it ended with."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.passes: list[int] = []
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: PromptBatch, batch_idx: int) -> None:
        self.prompts.append(batch.ids[0])
        self.passes.append(0)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
        self.passes[-1] += 1

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        learning = {name: weight for name, weight in pl_module.policy.named_parameters() if weight.requires_grad}
        self.gradients.append({name: weight.grad.clone() for name, weight in learning.items()})

    def write(self, trainer: lightning.Trainer, module: ReinforcementModule, folder: Path) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        noted = {"prompts": self.prompts, "passes": self.passes, "gradients": self.gradients, "figures": figures}
        torch.save({**noted, "weights": module.state_dict()}, folder / f"rank{trainer.global_rank}.pt")


class Alternating(ResponseAdvantage):
    """For and against, by turns: something to learn from whatever was written."""

    def of_responses(self, rewards: torch.Tensor, group_size: int) -> torch.Tensor:
        return torch.ones_like(rewards).where(torch.arange(len(rewards)) % 2 == 0, -1.0)


def prompts(rows: list[int]) -> list[PromptBatch]:
    """A batch of one prompt each; those with odd numbers have a second prompt, and both are long."""
    batches = []
    for row in rows:
        size = 1 + row % 2
        images = [torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(row + place)) for place in range(size)]
        batches.append(
            PromptBatch(
                ids=tuple(f"prompt {row}{' again' * place}" for place in range(size)),
                images=tuple((image,) for image in images),
                questions=("What is the first" + LONG * (size - 1),) * size,
                targets=("1",) * size,
                extras=({},) * size,
            )
        )
    return batches


def main(checkpoint: str, folder: str, ranks: int, rows: list[int]) -> None:
    """Fit on the prompts with these numbers, then validate on three."""
    lightning.seed_everything(0, verbose=False)
    engine = GroupEngine(12)
    module = ReinforcementModule(
        PolicySpec(checkpoint, LoRA(2), dtype="float32"),
        Pipeline(ResponseReader(Grammar(instructions="")), {"every_second": EverySecond(weight=1.0)}),
        Sampling(4, engine, engine, chunk_prompts=1),
        Update(token_budget=BUDGET),
        optimization=Optimization(lr=1e-2, clip=float("inf")),
    )
    notes = Notes()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        max_epochs=1,
        num_sanity_val_steps=0,
        callbacks=[notes],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loaders = []
    for part in (prompts(rows), prompts([100, 102, 104])):
        loaders.append(DataLoader(part, batch_size=1, sampler=SequentialSampler(part), collate_fn=_only))  # type: ignore[arg-type]
    trainer.fit(module, *loaders)
    notes.write(trainer, module, Path(folder))


def _only(batch: list[PromptBatch]) -> PromptBatch:
    return batch[0]


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
