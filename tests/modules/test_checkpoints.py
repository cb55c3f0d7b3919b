"""Checkpoints of runs over a 4-bit base: as small as what learns, and enough to go on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from vlcal.certainty import KLEntropyCertainty, WindowLabeler
from vlcal.modules import ReinforcementModule
from vlcal.objectives import ExpectedScore
from vlcal.policy import PolicySpec, QLoRA
from vlcal.training.optimization import Optimization, Optimizer, PagedAdamW8bit, TorchAdamW
from vlcal.training.pipeline import Pipeline
from vlcal.types import PromptBatch

Make = Callable[..., ReinforcementModule]


@pytest.fixture
def make(
    embedded: Path,
    reinforcement: Make,
    make_pipeline: Callable[..., Pipeline],
    scenes: Callable[[int], PromptBatch],
    replay: Callable[..., Any],
    respond: Callable[..., list[str]],
) -> Make:
    """A module over a 4-bit base with fresh adapters, always the same ones, and a part that remembers."""

    def made(optimizer: Optimizer = TorchAdamW(), adapter: Path | None = None) -> ReinforcementModule:
        torch.manual_seed(0)
        return reinforcement(
            replay(respond(scenes(2))),
            PolicySpec(str(embedded), QLoRA(32, adapter=adapter), dtype="float32"),
            make_pipeline(certainty=KLEntropyCertainty(WindowLabeler(64))),
            confidence=ExpectedScore(),
            optimization=Optimization(lr=1e-2, warmup=0.5, final=0.1, optimizer=optimizer),
        )

    return made


def adapters(module: ReinforcementModule) -> dict[str, torch.Tensor]:
    return {name: weight.detach() for name, weight in module.policy.named_parameters() if "lora_" in name}


class Save(lightning.Callback):
    """A checkpoint after each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt")


@pytest.fixture
def train(trainer: Callable[..., lightning.Trainer], scenes: Callable[[int], PromptBatch]) -> Callable[..., None]:
    """Three epochs of one batch."""

    def run(module: ReinforcementModule, folder: Path, ckpt_path: Path | None = None) -> None:
        lightning.seed_everything(0, verbose=False)
        loader = DataLoader([scenes(2)], batch_size=None)
        fresh = trainer(max_epochs=3, callbacks=[Save(folder)], limit_val_batches=0)
        fresh.fit(module, loader, loader, ckpt_path=ckpt_path, weights_only=True)

    return run


@pytest.mark.parametrize("optimizer", [TorchAdamW(), PagedAdamW8bit()])
def test_a_run_over_a_4_bit_base_that_was_interrupted_ends_where_one_without_a_break_does(
    make: Make, train: Callable[..., None], tmp_path: Path, optimizer: Optimizer
) -> None:
    straight, resumed = make(optimizer), make(optimizer)
    train(straight, tmp_path)
    torch.manual_seed(5)
    train(resumed, tmp_path, ckpt_path=tmp_path / "1.ckpt")

    expected, found = adapters(straight), adapters(resumed)

    assert resumed.global_step == straight.global_step == 3
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    rates = [module.trainer.optimizers[0].param_groups[0]["lr"] for module in (straight, resumed)]
    assert rates[0] == rates[1] == pytest.approx(1e-2 * (0.1 + 0.9 * 0.75))  # a third of the way along the cosine
    window, remembered = (each.pipeline.state_dict()["certainty"]["labeler"]["scores"] for each in (straight, resumed))
    assert len(window) == 3 * 4 and torch.equal(window, remembered)


def test_a_checkpoint_is_as_small_as_what_learns_and_its_running_means(
    make: Make, train: Callable[..., None], tmp_path: Path
) -> None:
    module = make()
    train(module, tmp_path)

    file = tmp_path / "2.ckpt"

    learned = 4 * sum(weight.numel() for weight in adapters(module).values())
    assert 3 * learned < file.stat().st_size < 3.3 * learned
    saved = torch.load(file, weights_only=True)  # nothing but tensors and plain values: safe to load from anyone
    assert saved["state_dict"].keys() == {f"_policy.{name}" for name in adapters(module)}
    assert saved["global_step"] == 3 and saved["settings"]["optimization.lr"] == 1e-2 and saved["pipeline"]


def test_the_adapter_a_run_started_from_is_not_in_its_checkpoint(
    make: Make, train: Callable[..., None], tmp_path: Path
) -> None:
    earlier = make()
    earlier.configure_model()
    earlier.policy.save(tmp_path / "earlier")
    module = make(adapter=tmp_path / "earlier")
    train(module, tmp_path)

    saved = torch.load(tmp_path / "2.ckpt", weights_only=True)["state_dict"]

    assert len(saved) == 8 * 7 * 2 and all(".default." in name for name in saved)
