"""Recipes: complete configs that a short experiment names and changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml import YAMLError

from vlcal.errors import UserError

RECIPES = Path(__file__).parent / "recipes"


def recipe_of(config: Path) -> Path | None:
    """The recipe that a config is based on, by the key `recipe`: a name of the package's own, or a file beside it.

    Raises:
        UserError: If there is no such recipe, or the config is a lone value or a list.
    """
    try:
        content = yaml.safe_load(config.read_bytes())
    except (OSError, ValueError, YAMLError):
        return None  # whoever reads the config itself says what is wrong with it
    if content is not None and not isinstance(content, dict):
        raise UserError(f"`config` must hold settings by their names; {config} holds a {type(content).__name__} alone.")
    name = (content or {}).get("recipe")
    if name is None:
        return None
    candidates = (RECIPES / f"{name}.yaml", config.parent / str(name))
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
        raise UserError(
            f"`recipe` must be one of {known}, or a file, relative to the config; {config} names {name!r}, which is "
            "neither."
        )
    return found


def recipes_of(config: Path) -> list[Path]:
    """The recipes that a config is based on, each ahead of what is laid over it: a recipe may be based on another.

    Raises:
        UserError: If there is no such recipe, or one is based on itself.
    """
    found: list[Path] = []
    recipe = recipe_of(config)
    while recipe is not None:
        if recipe in found:
            raise UserError(f"`recipe` must lead to an end; {recipe} is based on itself.")
        found.insert(0, recipe)
        recipe = recipe_of(recipe)
    return found


def with_recipes(args: list[str]) -> list[str]:
    """Arguments in which every config stands behind the recipes that it is based on."""
    return [word for given in _configs(args) for word in given]


def _configs(args: list[str]) -> Iterator[list[str]]:
    """The arguments in groups: each config with its option, everything else alone."""
    rest = iter(args)
    for word in rest:
        option, separated, value = word.partition("=")
        if option not in {"--config", "-c"}:
            yield [word]
            continue
        value = value if separated else next(rest, "")
        recipes = recipes_of(Path(value)) if value else []
        yield from ([option, str(path)] for path in (*recipes, value) if path)
