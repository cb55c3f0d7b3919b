from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import torch

from vlcal.cli import main
from vlcal.commands.catalogue import command_parser
from vlcal.demo import BASE, clear, demonstrate, figures, finished, pretrain, take_base
from vlcal.policy import PolicySpec


def refuse(args: list[str]) -> dict[str, float]:
    raise AssertionError(f"nothing may be run, but {args} was")


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="`folder` must be new, empty or an earlier demonstration"):
        clear(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_an_earlier_demonstration_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run" / "warm").mkdir(parents=True)
    clear(tmp_path / "run")
    take_base(refuse, tmp_path / "run", 0)
    assert (tmp_path / "run" / "warm" / "config.json").read_bytes() == (BASE / "config.json").read_bytes()


def test_an_unknown_recipe_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`recipe` must name a config in .*digits; got 'bset'"):
        demonstrate(refuse, tmp_path / "run", "bset", seed=0, prepare=take_base)
    assert not (tmp_path / "run").exists()


def test_from_scratch_is_a_switch() -> None:
    assert command_parser("demo").parse_args(["--from-scratch"]).from_scratch is True
    assert command_parser("demo").parse_args([]).from_scratch is False


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        (("best", 3, False), True),
        (("published", 3, False), False),
        (("best", 4, False), False),
        (("best", 3, True), False),
    ],
)
def test_a_finished_demonstration_is_one_of_the_same_recipe_seed_and_base(
    tmp_path: Path, asked: tuple[str, int, bool], there: bool
) -> None:
    assert not finished(tmp_path, *asked)
    (tmp_path / "summary.json").write_text('{"recipe": "best", "seed": 3', encoding="utf-8")
    assert not finished(tmp_path, *asked)  # cut short
    (tmp_path / "summary.json").write_text('{"recipe": "best", "seed": 3}', encoding="utf-8")
    assert finished(tmp_path, *asked) is there


def test_a_finished_demonstration_is_shown_at_the_page_and_not_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(BASE, folder)
    (folder / "summary.json").write_text('{"recipe": "best", "seed": 0}', encoding="utf-8")
    words = ["demo", "--ui", "--port", "0", "--folder", str(folder)]
    with subprocess.Popen([sys.executable, "-m", "vlcal", *words], stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        try:
            said = [shown.stdout.readline() for _ in range(2)]
            address = re.search(r"http://127.0.0.1:\d+", said[1])
            assert said[0].startswith(f"{folder} holds this demonstration") and address is not None
            with urlopen(address[0], timeout=60) as page:
                assert "<title>" in page.read().decode()
        finally:
            shown.terminate()


def test_a_page_that_cannot_be_served_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SystemExit, match="must be a free IPv4 address .* Name another by --port"),
    ):
        main(["demo", "--ui", "--folder", str(tmp_path / "demo"), "--port", str(taken.getsockname()[1])])
    assert not (tmp_path / "demo").exists()


def test_a_model_is_pretrained_from_nothing(tmp_path: Path) -> None:
    from vlcal.commands.trainer import figures_of

    small = ["--data.batch_size", "2", "--trainer.limit_val_batches", "0"]

    pretrain(lambda args: figures_of([*args, *small]), tmp_path, seed=0, steps=2)

    shapes = [json.loads((folder / "config.json").read_text())["text_config"] for folder in (BASE, tmp_path / "warm")]
    assert shapes[0] == {**shapes[1], "dtype": shapes[0]["dtype"]}  # the base was made by the same code
    weights = PolicySpec(str(tmp_path / "warm"), dtype="float32").build().state_dict()
    start = PolicySpec(str(tmp_path / "embedded"), dtype="float32").build().state_dict()
    assert any(not torch.equal(weights[name], start[name]) for name in weights)


def test_a_figure_that_nobody_knows_is_null() -> None:
    logged = {
        "val/calibration/accuracy": 0.5,
        "val/calibration/auroc": math.nan,
        "val/probe/altered/altered_fall": 0.25,
    }

    found = figures(logged)

    assert (found["accuracy"], found["auroc"], found["altered_fall"], found["altered_auroc"]) == (0.5, None, 0.25, None)
