"""The configs for real hardware, each with a shrunken model of its own architecture."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from tests.configs.conftest import CONFIGS, HARDWARE
from vlcal.commands.trainer import Cli
from vlcal.modules import ReinforcementModule
from vlcal.policy import GroupEngine, QLoRA, RecomputedActivations

Arguments = Callable[[Path], list[str]]
EACH = pytest.mark.parametrize("config", HARDWARE, ids=lambda path: f"{path.parent.name}/{path.stem}")
ONE_STEP = ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1"]


@EACH
def test_every_config_is_read_and_made_with_a_value_from_the_shell_everywhere(small: Arguments, config: Path) -> None:
    cli = Cli([*small(config), "--seed_everything", "7"], run=False)
    module = cli.model

    assert isinstance(module, ReinforcementModule)
    assert isinstance(module.spec.adaptation, QLoRA) and isinstance(module.spec.activations, RecomputedActivations)
    engines = module.sampling.training, module.sampling.validation
    assert [type(engine) for engine in engines] == [GroupEngine] * 2
    assert [engine.max_new_tokens for engine in engines] == [4, 4]  # type: ignore[attr-defined]
    assert (module.sampling.seed, cli.datamodule.seed) == (7, 7)


@EACH
def test_every_header_says_what_the_card_is_and_the_command(config: Path) -> None:
    header = [line for line in config.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    found = dict(
        match.groups() for line in header if (match := re.match(r"# (Card|Needs|Command|Expect): +(.+)", line))
    )

    assert found.keys() == {"Card", "Needs", "Command", "Expect"}
    assert re.search(r"\d+ GB.* [\d.]+ GiB", found["Card"])
    assert str(config.relative_to(CONFIGS.parent)) in found["Command"]


@EACH
def test_no_number_but_a_short_one_is_stated_twice(config: Path) -> None:
    def numbers(value: object) -> list[float]:
        if isinstance(value, dict):
            return [number for item in value.values() for number in numbers(item)]
        if isinstance(value, list):
            return [number for item in value for number in numbers(item)]
        return [value] if isinstance(value, int | float) and not isinstance(value, bool) and value >= 100 else []

    found = numbers(yaml.safe_load(config.read_text(encoding="utf-8")))

    assert found and len(found) == len(set(found))


@pytest.mark.parametrize(
    "config",
    [
        CONFIGS / "qwen3vl" / "4b_16gb.yaml",
        CONFIGS / "qwen3vl" / "8b_24gb.yaml",
        CONFIGS / "qwen25vl" / "3b_12gb.yaml",
        CONFIGS / "internvl" / "3_5_4b_24gb.yaml",
    ],
    ids=lambda path: path.stem,
)
def test_one_step_trains_the_adapters_of_each_family_over_a_4_bit_base(small: Arguments, config: Path) -> None:
    cli = Cli(["fit", *small(config), *ONE_STEP])
    module = cli.model

    kinds = {weight.dtype for weight in module.policy.parameters() if not weight.requires_grad}
    assert torch.uint8 in kinds
    assert cli.trainer.global_step == 1
    figures = cli.trainer.callback_metrics
    assert figures["train/objective/gradient_norm"].isfinite() and figures["val/calibration/n"] == 3
