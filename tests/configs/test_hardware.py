"""The configs for real hardware, each with a shrunken model of its own architecture."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from tests.configs.architectures import write_architecture
from tests.configs.conftest import CONFIGS, HARDWARE
from vlcal.callbacks import KnobSchedule
from vlcal.commands.checkup import GIB, optimizer_bytes, workload
from vlcal.commands.trainer import Cli
from vlcal.inference.run_config import RunConfig
from vlcal.modules import ReinforcementModule, ShardedStrategy
from vlcal.modules.checkpoints import WholeCheckpoints
from vlcal.policy import GroupEngine, QLoRA, RecomputedActivations
from vlcal.policy.memory.footprint import ROOMY, footprint
from vlcal.policy.memory.lengths import PromptLength
from vlcal.policy.memory.skeleton import Skeleton
from vlcal.recipe import recipes_of

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
def test_every_schedule_of_a_config_finds_the_part_that_it_changes(small: Arguments, config: Path) -> None:
    args = small(config)
    start = args.index("--trainer.callbacks")
    needed = ["--trainer.enable_checkpointing", "true", "--trainer.enable_progress_bar", "true"]
    cli = Cli([*args[:start], *args[start + 2 :], *needed], run=False)

    for schedule in (each for each in cli.trainer.callbacks if isinstance(each, KnobSchedule)):
        schedule.setup(cli.trainer, cli.model, "fit")


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
def test_the_estimate_in_the_header_is_that_of_a_step_that_trains_well_and_fits_its_card(
    config: Path, questions: Path, tmp_path: Path
) -> None:
    header = re.search(r"# Card: .*?(\d+) GB.* ([\d.]+) GiB", config.read_text(encoding="utf-8"))
    named = RunConfig(config).part("model.init_args.policy.init_args.path")
    shapes, data = write_architecture(named, tmp_path), "--data.init_args"
    given = ["--config", str(config), "--model.init_args.policy.init_args.path", str(shapes)]
    for part in ("train", "validation"):
        given += [f"{data}.{part}.init_args.path", str(questions)]
    cli = Cli(given, run=False)
    module, prompts = cli.model, cli.datamodule.batch_size

    skeleton = Skeleton(module.spec)
    work = workload(module, [longest(config, cli.datamodule.image_size.max_pixels)], prompts, cli.trainer.num_devices)
    assert header
    card = int(header[1]) * GIB
    taken = footprint(skeleton, work, optimizer_bytes(module.optimization, skeleton.learning), card)

    assert prompts >= 32
    assert taken.peak / GIB == pytest.approx(float(header[2]), abs=0.1)
    assert taken.peak < ROOMY * card


def longest(config: Path, pixels: int) -> PromptLength:
    """A prompt of 450 tokens beside the largest image that a config lets through."""
    if config.parent.name == "internvl":
        tiles, side = 13, 448  # as many as its processor makes of any picture
        return PromptLength("longest", 450 + 256 * tiles, 256 * tiles, 3 * tiles * side**2)
    tokens = pixels // {"qwen3vl": 32, "qwen25vl": 28}[config.parent.name] ** 2
    return PromptLength("longest", 450 + tokens, tokens, 2 * 3 * pixels)  # a still image is two frames of a video


@EACH
def test_a_config_states_nothing_that_its_recipe_states(config: Path) -> None:
    def settings(value: object, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
        if not isinstance(value, dict):
            return {place: value}
        return {key: leaf for name, item in value.items() for key, leaf in settings(item, (*place, name)).items()}

    *recipes, own = (
        settings(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in (*recipes_of(config), config)
    )
    theirs = {key: value for recipe in recipes for key, value in recipe.items()}

    # A mapping of rewards stands in place of that of the recipe.
    assert not [key for key, value in own.items() if theirs.get(key) == value and "rewards" not in key]


def test_a_config_names_the_strategy_in_which_ranks_share_the_weights(small: Arguments) -> None:
    cli = Cli([*small(HARDWARE[0]), "--trainer.strategy", "sharded"], run=False)

    assert isinstance(cli.trainer.strategy, ShardedStrategy)
    assert isinstance(cli.trainer.strategy.checkpoint_io, WholeCheckpoints)


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
