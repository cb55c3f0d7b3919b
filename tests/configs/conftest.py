"""Shrunken models of the families that the configs name, and arguments that make a run of a config small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.configs.questions import png, write_questions
from tests.families.checkpoints import write_checkpoint

CONFIGS = Path(__file__).parents[2] / "configs"
FAMILIES = {"qwen3vl": "qwen3_vl", "qwen25vl": "qwen2_5_vl", "internvl": "internvl3_5"}
HARDWARE = sorted(path for family in FAMILIES for path in (CONFIGS / family).glob("*.yaml"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """The shrunken checkpoint of the architecture that a config names; each is written once."""
    folder = tmp_path_factory.mktemp("architectures")

    def found(config: Path) -> Path:
        family = FAMILIES[config.parent.name]
        return folder / family if (folder / family).is_dir() else write_checkpoint(family, folder / family)

    return found


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three questions, with one image, another one and two."""
    pictures = png(64, 48), png(40, 100)
    return write_questions(tmp_path_factory.mktemp("questions") / "few.parquet", [pictures[:1], pictures[1:], pictures])


@pytest.fixture
def small(checkpoint: Callable[[Path], Path], questions: Path, tmp_path: Path) -> Callable[[Path], list[str]]:
    """Arguments behind which a run of a config is small, writes nothing and needs no GPU."""

    def arguments(config: Path) -> list[str]:
        sampling, data = "--model.init_args.sampling.init_args", "--data.init_args"
        return [
            *("--config", str(config), "--trainer.default_root_dir", str(tmp_path)),
            *("--model.init_args.policy.init_args.path", str(checkpoint(config))),
            *("--model.init_args.policy.init_args.dtype", "float32"),
            *(f"{data}.train.init_args.path", str(questions), f"{data}.validation.init_args.path", str(questions)),
            *(f"{data}.batch_size", "2", f"{data}.workers", "0"),
            *(f"{sampling}.group_size", "3", "--model.init_args.update.init_args.token_budget", "1024"),
            *(f"{sampling}.training.init_args.max_new_tokens", "4"),
            *("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.strategy", "auto"),
            *("--trainer.callbacks", "[]", "--trainer.logger", "false"),
            *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
            *("--trainer.enable_checkpointing", "false"),
        ]

    return arguments
