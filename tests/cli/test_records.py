"""The record that a run leaves, its last checkpoint, and settings of the trainer that it cannot follow."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.cli.conftest import CONFIGS
from vlcal import __version__
from vlcal.cli import main
from vlcal.commands.trainer import Cli
from vlcal.recipe import recipe_of

# Lightning, of every run that goes on in its own folder.
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning")

HARDWARE = recipe_of(CONFIGS.parent / "qwen3vl" / "4b_16gb.yaml")
assert HARDWARE


@pytest.fixture
def kept(small: list[str], folder: Path) -> list[str]:
    """Arguments of a small run of two steps that saves checkpoints as the configs for hardware do."""
    (saved,) = (
        each
        for each in yaml.safe_load(HARDWARE.read_text())["trainer"]["callbacks"]
        if each["class_path"].endswith("ModelCheckpoint")
    )
    saved["init_args"]["dirpath"] = str(folder / "checkpoints")
    start = small.index("--trainer.enable_checkpointing")
    return [
        *(*small[:start], *small[start + 2 :], "--trainer.callbacks", json.dumps([saved])),
        *("--data.init_args.steps", "2"),
    ]


@pytest.fixture
def end(folder: Path) -> Callable[[], dict[str, Any]]:
    """What the last checkpoint of a run holds."""
    return lambda: torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def test_a_record_says_all_it_takes_to_run_it_again_and_does(
    kept: list[str], folder: Path, end: Callable[[], dict[str, Any]]
) -> None:
    command = ["fit", *kept, "--seed_everything", "5", "--model.init_args.optimization.init_args.lr", "2e-4"]
    main(command)
    first = end()

    text = (folder / "config.yaml").read_text()
    above = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("#")]
    config = yaml.safe_load(text)

    assert shlex.split(above[0]) == ["vlcal", *command]
    assert above[1].startswith(f"vlcal {__version__}, ")
    assert all(f"{name} " in above[2] for name in ("Python", "torch", "transformers", "peft", "lightning"))
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00, on cpu", above[3])
    assert config["seed_everything"] == 5
    assert config["model"]["init_args"]["optimization"]["init_args"]["lr"] == 2e-4

    main(["fit", "--config", str(folder / "config.yaml")])
    torch.testing.assert_close(end()["state_dict"], first["state_dict"], rtol=0, atol=0)


def test_a_record_names_the_revision_of_a_checkout_and_none_elsewhere(tmp_path: Path, monkeypatch: Any) -> None:
    from vlcal.commands import run_record

    def git(*args: str) -> None:
        given = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *given, *args], cwd=tmp_path, check=True, capture_output=True)

    package = tmp_path / "vlcal" / "__init__.py"
    package.parent.mkdir()
    package.write_text("")
    monkeypatch.setattr(run_record, "__file__", str(package.parent / "commands" / "run_record.py"))
    assert run_record.revision() is None
    git("init")
    assert run_record.revision() is None  # in a repository that does not hold the package
    git("add", ".")
    git("commit", "-m", "one")
    assert re.fullmatch(r"git [0-9a-f]{40}", str(run_record.revision()))
    package.write_text("changed = True")
    assert re.fullmatch(r"git [0-9a-f]{40}-dirty", str(run_record.revision()))


def test_nothing_is_written_over_a_record(kept: list[str], folder: Path) -> None:
    main(["fit", *kept])
    record = (folder / "config.yaml").read_text()

    for command in ("validate", "test", "predict"):
        main([command, "--config", str(folder / "config.yaml"), "--model.init_args.optimization.init_args.lr", "1"])
        assert sorted(path.name for path in folder.glob("config*")) == ["config.yaml"]
    main(["fit", *kept, "--ckpt_path", "last", "--trainer.max_epochs", "2"])

    assert (folder / "config.yaml").read_text() == record
    assert yaml.safe_load((folder / "config-2.yaml").read_text())["trainer"]["max_epochs"] == 2


def test_the_end_of_a_run_is_saved_by_the_configs_for_hardware(
    kept: list[str], end: Callable[[], dict[str, Any]]
) -> None:
    main(["fit", *kept])

    assert end()["global_step"] == 2  # where they save every 50 steps


def test_a_run_that_ends_by_steps_goes_on_within_its_epoch(kept: list[str], end: Callable[[], dict[str, Any]]) -> None:
    main(["fit", *kept, "--data.init_args.steps", "3", "--trainer.max_steps", "1"])
    cut = end()
    main(["fit", *kept, "--data.init_args.steps", "3", "--ckpt_path", "last"])

    assert (cut["global_step"], end()["global_step"]) == (1, 3)  # not the next epoch, of which there is none


def test_the_last_checkpoint_of_an_empty_folder_is_the_start_of_a_run(
    kept: list[str], end: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # `warns` does not know what pytest is to ignore
    with pytest.warns(UserWarning, match="there is no last checkpoint available"):
        main(["fit", *kept, "--ckpt_path", "last"])

    assert end()["global_step"] == 2


def test_the_last_checkpoint_is_looked_at_like_one_that_is_named(kept: list[str], folder: Path) -> None:
    main(["fit", *kept])
    file = folder / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(SystemExit, match=r"^vlcal: error: `ckpt_path` must be .*last.ckpt is damaged"):
        main(["fit", *kept, "--ckpt_path", "last"])
    assert not zipfile.is_zipfile(file)


def test_a_validation_that_no_epoch_reaches_takes_place_at_its_end(kept: list[str]) -> None:
    with pytest.warns(UserWarning, match="`trainer.val_check_interval` is 250 batches, and an epoch has 2"):
        command = Cli(["fit", *kept, "--trainer.val_check_interval", "250"])

    assert command.trainer.callback_metrics["val/calibration/n"] == 2


@pytest.mark.parametrize("command", ["fit", "doctor"])
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (("precision", "bf16-true"), "`trainer.precision` must be 32-true.*; got bf16-true.*`model.policy.dtype`"),
        (("precision", "16-true"), "`trainer.precision` must be 32-true.*; got 16-true.*`model.policy.dtype`"),
        (("precision", "64-true"), "`trainer.precision` must be 32-true.*; got 64-true"),
        (
            ("accumulate_grad_batches", "2"),
            "`trainer.accumulate_grad_batches` must be left .* got 2.*`data.batch_size`",
        ),
        (
            ("gradient_clip_val", "1.0"),
            "`trainer.gradient_clip_val` must be left .* got 1.0.*`model.optimization.clip`",
        ),
    ],
)
def test_a_setting_that_a_run_cannot_follow_is_one_line_before_anything_is_made(
    small: list[str], folder: Path, command: str, setting: tuple[str, str], said: str
) -> None:
    given = [*small[: small.index("--trainer.enable_checkpointing")], f"--trainer.{setting[0]}", setting[1]]
    (folder / "warm" / "config.json").unlink()  # a policy that would be made is refused otherwise

    with pytest.raises(SystemExit, match=rf"^vlcal: error: {said}[^\n]*$"):
        main([command, *given])
