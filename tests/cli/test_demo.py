from __future__ import annotations

import math
from pathlib import Path

import pytest

from vlcal.demo import demonstrate, known, warm_up


def refuse(args: list[str]) -> dict[str, float]:
    raise AssertionError(f"nothing may be run, but {args} was")


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="`folder` must be new, empty or an earlier demonstration"):
        warm_up(refuse, tmp_path, seed=0)
    assert (tmp_path / "thesis.txt").exists()


def test_an_unknown_recipe_is_refused_before_the_warm_up(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`recipe` must name a config in .*digits, .* got 'bset'"):
        demonstrate(refuse, tmp_path / "run", "bset", seed=0)
    assert not (tmp_path / "run").exists()


def test_a_figure_that_nobody_knows_is_null() -> None:
    assert known({"accuracy": 0.5, "auroc": math.nan}) == {"accuracy": 0.5, "auroc": None}
