"""Modules over the embedded model, and runs of a few batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
from torch.utils.data import DataLoader

from vlcal.modules import ReinforcementModule
from vlcal.policy import LoRA, PolicySpec, RolloutEngine, TransformersEngine
from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling


class Steps(lightning.Callback):
    """Keeps what each training step collected and logged."""

    def __init__(self) -> None:
        self.outputs: list[Any] = []
        self.figures: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.outputs.append(outputs)
        self.figures.append({name: float(value) for name, value in trainer.callback_metrics.items()})


@pytest.fixture
def trainer() -> Callable[..., lightning.Trainer]:
    """A trainer that writes nothing."""

    def made(**settings: Any) -> lightning.Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        settings = {"max_epochs": 1, "accelerator": "cpu", "enable_model_summary": False, **quiet, **settings}
        return lightning.Trainer(**settings)

    return made


@pytest.fixture
def fit(trainer: Callable[..., lightning.Trainer]) -> Callable[..., Steps]:
    """Train a module on batches; what its steps gave."""

    def run(
        module: lightning.LightningModule,
        batches: Sequence[Any],
        ckpt_path: Path | None = None,
        callbacks: Sequence[lightning.Callback] = (),
        **settings: Any,
    ) -> Steps:
        steps = Steps()
        lightning.seed_everything(0, verbose=False)
        loader = DataLoader(batches, batch_size=None)
        trainer(callbacks=[steps, *callbacks], limit_val_batches=0, **settings).fit(
            module, loader, loader, ckpt_path=ckpt_path, weights_only=False
        )
        return steps

    return run


@pytest.fixture
def reinforcement(embedded: Path, make_pipeline: Callable[..., Pipeline]) -> Callable[..., ReinforcementModule]:
    """A reinforcement module with adapters, an engine, and some settings of its update."""

    def made(
        engine: RolloutEngine | None = None,
        spec: PolicySpec | None = None,
        pipeline: Pipeline | None = None,
        optimization: Optimization | None = None,
        **update: Any,
    ) -> ReinforcementModule:
        engine = engine or TransformersEngine(8)
        return ReinforcementModule(
            spec or PolicySpec(str(embedded), LoRA(2), dtype="float32"),
            pipeline or make_pipeline(),
            Sampling(2, engine, engine),
            Update(**update),
            optimization or Optimization(lr=1e-2),
        )

    return made
