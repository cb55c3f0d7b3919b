"""An experiment is laid over the recipes that it is based on."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlcal.inference.run_config import RunConfig
from vlcal.recipe import RECIPES, recipes_of, with_recipes


def write(folder: Path, **recipes: str) -> None:
    for name, content in recipes.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")


def test_a_recipe_may_be_based_on_another_and_the_nearest_one_decides(tmp_path: Path) -> None:
    write(tmp_path, own="recipe: between.yaml\na: 3", between="recipe: published\na: 2\nb: 2")
    own, between = tmp_path / "own.yaml", tmp_path / "between.yaml"
    shipped = [RECIPES / "consumer.yaml", RECIPES / "published.yaml"]

    assert recipes_of(own) == [*shipped, between]
    files = [str(path) for path in (*shipped, between, own)]
    assert with_recipes(["fit", f"--config={own}"]) == ["fit", *(word for file in files for word in ("--config", file))]
    config = RunConfig(own)
    assert (config.part("a"), config.part("b")) == (3, 2)
    assert config.part("model.init_args.update.init_args.confidence.class_path").endswith("SampledConfidence")


def test_recipes_that_are_based_on_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, one="recipe: two.yaml", two="recipe: one.yaml")
    with pytest.raises(ValueError, match=r"`recipe` must lead to an end; .*two\.yaml is based on itself"):
        recipes_of(tmp_path / "one.yaml")
