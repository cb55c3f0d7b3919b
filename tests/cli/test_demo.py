from __future__ import annotations

import math
from pathlib import Path

import pytest

from vlcal.cli import command_parser
from vlcal.demo import BASE, clear, demonstrate, figures, take_base


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


def test_a_figure_that_nobody_knows_is_null() -> None:
    logged = {
        "val/calibration/accuracy": 0.5,
        "val/calibration/auroc": math.nan,
        "val/probe/altered/altered_fall": 0.25,
    }

    found = figures(logged)

    assert (found["accuracy"], found["auroc"], found["altered_fall"], found["altered_auroc"]) == (0.5, None, 0.25, None)
