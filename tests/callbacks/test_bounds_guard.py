"""A run that goes wrong stops, and what it had learned before is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from vlcal.callbacks import BoundsGuard

Fit = Callable[..., None]
LENGTH = "train/response/length"


class Logging(lightning.LightningModule):
    """Counts its steps in its only weight, and logs one figure."""

    def __init__(self, figures: Sequence[float]) -> None:
        super().__init__()
        self.figures = figures
        self.steps = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.log(LENGTH, self.figures[self.global_step])
        return -self.steps

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.fixture
def run(tmp_path: Path) -> Fit:
    """Trains under a guard and saves every step as last.ckpt."""

    def fit(figures: Sequence[float], guard: BoundsGuard) -> None:
        every = ModelCheckpoint(tmp_path, "last", every_n_train_steps=1, enable_version_counter=False)
        lightning.Trainer(
            default_root_dir=tmp_path,
            accelerator="cpu",
            max_epochs=1,
            callbacks=[guard, every],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Logging(figures), DataLoader([torch.zeros(1)] * len(figures), batch_size=None))

    return fit


def weight(file: Path) -> float:
    return float(torch.load(file, weights_only=True)["state_dict"]["steps"])


def test_a_figure_that_stays_outside_stops_the_run_and_the_checkpoint_from_before_is_kept(
    run: Fit, tmp_path: Path
) -> None:
    said = rf"`bounds`: {LENGTH} is 900, outside \[10, 400\], for 3 steps in a row. .* is {tmp_path}/in_bounds.ckpt"
    with pytest.raises(ValueError, match=said) as stopped:
        run([50, 50, 700, 800, 900, 50], BoundsGuard({LENGTH: (10, 400)}, patience=3))

    assert "\n" not in str(stopped.value)
    assert weight(tmp_path / "in_bounds.ckpt") == 2  # steps, the last of them inside
    assert weight(tmp_path / "last.ckpt") == 4  # saved while the figure was outside


def test_a_figure_that_comes_back_or_is_none_stops_nothing(run: Fit, tmp_path: Path) -> None:
    run([50, 700, 50, 5, math.nan, 700, 50], BoundsGuard({LENGTH: (10, 400)}, patience=2))

    assert weight(tmp_path / "last.ckpt") == 7 and not (tmp_path / "in_bounds.ckpt").exists()


def test_a_figure_that_is_not_logged_is_refused_with_those_that_are(run: Fit) -> None:
    with pytest.raises(ValueError, match=f"`bounds` must name .*; train/kl is not. There are {LENGTH}."):
        run([50], BoundsGuard({"train/kl": (0, 1)}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bounds": {LENGTH: (4, 2)}}, f"`bounds.{LENGTH}` must be a lowest and a highest value; got 4 and 2"),
        ({"bounds": {}, "patience": 0}, "`patience` must be at least 1 .* got 0"),
    ],
)
def test_bounds_that_nothing_is_in_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BoundsGuard(**settings)  # type: ignore[arg-type]
