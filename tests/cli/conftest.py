"""A run of a recipe as small as it gets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs" / "digits"
BEST = ["--config", str(CONFIGS / "best.yaml")]
CALLBACKS_OFF = ["--trainer.callbacks", "[]", "--trainer.logger", "false"]


@pytest.fixture
def folder(embedded: Path, tmp_path: Path) -> Path:
    """A run folder with a checkpoint where the recipes look for one."""
    shutil.copytree(embedded, tmp_path / "warm")
    return tmp_path


@pytest.fixture
def small(folder: Path) -> list[str]:
    """Arguments that make a run of the recipe as small as it gets."""
    sampling = "--model.init_args.sampling.init_args"
    return [
        *BEST,
        *("--trainer.default_root_dir", str(folder)),
        *("--data.init_args.steps", "1", "--data.init_args.batch_size", "2", "--data.init_args.held_out", "2"),
        *(f"{sampling}.group_size", "4", f"{sampling}.validation_group_size", "1"),
        *(f"{sampling}.training.init_args.max_new_tokens", "4"),
        *(f"{sampling}.validation.init_args.max_new_tokens", "4"),
        *CALLBACKS_OFF,
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
        *("--trainer.enable_checkpointing", "false"),
    ]
