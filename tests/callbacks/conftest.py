"""Hand-built assessment, and a tiny module that hands it on while it learns something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vlcal.rewards import AccuracyReward, FormatReward
from vlcal.training.learner import Update
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import Sampling
from vlcal.types import Assessment, Certainty, Evidence, PromptBatch, Responses, Rewards, Rollouts, Spans

NAN = float("nan")


def build_assessment(
    visual: Sequence[float] = (0.9, 0.2, 0.7, NAN),
    correct: Sequence[float] = (1, 0, 1, 0),
    group_size: int = 1,
    **changes: Sequence[Any],
) -> Assessment:
    """One response per stated visual confidence; `changes` replace whole columns by name."""
    count, length = len(visual), 3

    def column(name: str, default: Sequence[float]) -> Tensor:
        return torch.tensor(changes.get(name, default), dtype=torch.float32)

    outcome, stated = torch.tensor(correct, dtype=torch.float32), torch.tensor(visual, dtype=torch.float32)
    nothing, zeros = torch.zeros(count, length, dtype=torch.bool), torch.zeros(count, length)
    prompts = count // group_size
    answers = changes.get("answers", ["9"] * count)
    return Assessment(
        prompts=PromptBatch(
            ids=tuple(f"scene-{number}" for number in range(prompts)),
            images=tuple(changes.get("images", [(torch.full((3, 8, 16), 0.5),)] * prompts)),
            questions=("What is the sum?",) * prompts,
            targets=("9",) * prompts,
            extras=tuple(changes.get("extras", [{}] * prompts)),
        ),
        rollouts=Rollouts(
            tokens=torch.ones(count, length, dtype=torch.long),
            mask=torch.ones(count, length, dtype=torch.bool),
            log_probs=zeros,
            texts=tuple(changes.get("texts", [f"\\boxed{{{answer}}}" for answer in answers])),
            truncated=torch.zeros(count, dtype=torch.bool),
            group_size=group_size,
        ),
        responses=Responses(
            answers=tuple(answers),
            well_formed=~stated.isnan(),
            correct=outcome,
            visual=stated,
            reasoning=column("reasoning", visual),
            overall=column("overall", visual),
            perception_correct=column("perception_correct", [NAN] * count),
            reasoning_correct=column("reasoning_correct", [NAN] * count),
            spans=Spans(nothing, nothing, nothing, nothing, nothing),
        ),
        evidence=Evidence(zeros, zeros, zeros),
        certainty=Certainty(token=zeros, response=torch.full((count,), 0.5), score=column("score", visual)),
        rewards=Rewards(terms={"accuracy": outcome, "visual": -outcome}, total=column("total", correct)),
    )


class Learner(lightning.LightningModule):
    """Fits a line to noise from the global generator, so that one draw more by anyone changes its weights."""

    def __init__(self, steps: Sequence[Assessment], pipeline: Pipeline | None = None) -> None:
        super().__init__()
        self.steps = list(steps)
        self.pipeline = pipeline or Pipeline(ResponseReader(), {"accuracy": AccuracyReward(), "format": FormatReward()})
        self.sampling, self.update = Sampling(), Update()
        self.line = nn.Linear(2, 1)
        self.automatic_optimization = False
        self.seen: list[Any] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.line.parameters(), lr=0.1)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Assessment]:
        self.seen.append(batch_idx)
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.line(torch.randn(4, 2)).square().mean())
        optimizer.step()
        return {"assessment": self.steps[batch_idx % len(self.steps)]}

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Assessment]:
        return {"assessment": self.steps[batch_idx % len(self.steps)]}

    test_step = validation_step
    predict_step = validation_step


class Supervised(Learner):
    """Hands on nothing."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        super().training_step(batch, batch_idx)


def batches(count: int) -> DataLoader:
    return DataLoader(torch.zeros(count, 1))


def trainer_of(*callbacks: Callback, folder: Path, **settings: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": any(isinstance(each, lightning.pytorch.callbacks.ProgressBar) for each in callbacks),
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return Trainer(callbacks=list(callbacks), **{**defaults, **settings})


class Journal(Callback):
    """Keeps what was logged after every training batch."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., list[dict[str, float]]]:
    """Trains on a list of assessments under some callbacks; gives the log of every batch."""

    def run(
        module: lightning.LightningModule, *callbacks: Callback, steps: int, **settings: Any
    ) -> list[dict[str, float]]:
        settings = {"limit_val_batches": 0, **settings}
        journal = Journal()
        trainer_of(*callbacks, journal, folder=tmp_path, **settings).fit(module, batches(steps), batches(1))
        return journal.rows

    return run


@pytest.fixture(scope="session")
def build() -> Callable[..., Assessment]:
    """Makes an assessment by hand."""
    return build_assessment


@pytest.fixture(scope="session")
def learner() -> type[Learner]:
    """A module that hands on assessment."""
    return Learner


@pytest.fixture(scope="session")
def supervised() -> type[Supervised]:
    """A module that hands on none."""
    return Supervised


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """A quiet trainer of one epoch on the CPU with these callbacks."""
    return lambda *callbacks, **settings: trainer_of(*callbacks, folder=tmp_path, **settings)


@pytest.fixture(scope="session")
def loader() -> Callable[[int], DataLoader]:
    """That many batches of nothing."""
    return batches
