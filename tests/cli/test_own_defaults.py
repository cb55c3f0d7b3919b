"""A part that a config names starts from its own defaults, whatever stood in its slot before."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import pytest
import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

import vlcal
from tests.cli.conftest import BEST
from vlcal.commands.own_defaults import own_defaults
from vlcal.commands.trainer import Cli
from vlcal.data import VisionQuestions
from vlcal.perturbations import GaussianNoise, PatchMask
from vlcal.policy import PolicySpec
from vlcal.probes import CorruptionCurve

NO_PARTS = ("vlcal.evaluation", "vlcal.commands")


class Slot(NamedTuple):
    """A parameter of a constructor that takes a part, and the members of its family."""

    owner: type
    name: str
    members: tuple[type, ...]
    inside: str  # what the part lies in: nothing, a list or a mapping

    def holding(self, spec: object) -> object:
        return {"": spec, "list": [spec], "mapping": {"one": spec}}[self.inside]


def classes() -> list[type]:
    """Every class that a package of parts exports: what a config can name."""
    packages = [
        import_module(found.name)
        for found in pkgutil.walk_packages(vlcal.__path__, "vlcal.")
        if found.ispkg and not found.name.startswith(NO_PARTS)
    ]
    return sorted({item for package in packages for item in vars(package).values() if inspect.isclass(item)}, key=str)


def constructor(kind: type) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(kind).parameters)


def family(base: type, known: list[type]) -> tuple[type, ...]:
    return tuple(kind for kind in known if issubclass(kind, base) and not inspect.isabstract(kind))


def slots() -> Iterator[Slot]:
    """Every slot of every constructor whose family has more than one member."""
    known, met = classes(), set()
    for owner in (kind for kind in known if not inspect.isabstract(kind)):
        for name, hint in get_type_hints(owner.__init__).items():
            base = next((each for each in (hint, *get_args(hint)) if each in known), None)
            if base is None or (owner.__init__, name) in met or len(members := family(base, known)) < 2:
                continue
            met.add((owner.__init__, name))
            kind = get_origin(hint)
            yield Slot(owner, name, members, {Mapping: "mapping", Sequence: "list", list: "list"}.get(kind, ""))


def other(value: object) -> object:
    """Another value of the same kind: a number, a text, or the spec of another part."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value} other"
    relatives = (family(base, classes()) for base in type(value).__mro__[1:-1])
    for relative in (kind for members in relatives for kind in members if kind is not type(value)):
        return {"class_path": path_of(relative)}
    return None


def taken_over(before: type, after: type) -> dict[str, object]:
    """Values for the parameters that both know by name, unlike the default of the first."""
    shared = constructor(before).keys() & constructor(after).keys()
    values = {name: other(constructor(before)[name].default) for name in shared}
    return {name: value for name, value in values.items() if value is not None}


def path_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def parser_of(owner: type) -> LightningArgumentParser:
    parser = LightningArgumentParser(parser_mode="omegaconf+", exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(owner, "owner", fail_untyped=False)
    return parser


def settings(parser: LightningArgumentParser, slot: Slot, *args: str) -> Any:
    """What stands in the slot in the end; what else the owner or the part would require is left open."""
    with own_defaults():
        return parser.parse_args([*args], _skip_validation=True).owner[slot.name]


def own(kind: type) -> dict[str, object]:
    """The numbers and texts that a class starts from by itself."""
    defaults = {name: each.default for name, each in constructor(kind).items()}
    return {name: value for name, value in defaults.items() if isinstance(value, bool | int | float | str)}


def held(found: Any) -> Any:
    """The one part in a list or mapping of parts, or the part itself."""
    spec = found[0] if isinstance(found, list) else found.get("one", found)
    return spec if isinstance(spec, Namespace) else Namespace(spec)


def leaking(members: tuple[type, ...]) -> list[tuple[type, type]]:
    """The pairs of a family of which the second knows a setting of the first by its name."""
    return [(before, after) for before, after in permutations(members, 2) if taken_over(before, after)]


SLOTS = sorted(slots(), key=str)
# Every pair in one slot of each family, one pair in its other slots: how a family is swapped does not hang on the slot.
FIRST = {slot.members: slot for slot in reversed(SLOTS)}


def test_the_walk_meets_every_family() -> None:
    met = {f"{slot.owner.__name__}.{slot.name}" for slot in SLOTS}

    assert {"Pipeline.perturbation", "Pipeline.rewards", "Mixture.members", "LoRA.layers", "Update.objective"} <= met
    assert {"ClippedSurrogate.aggregation", "VisionQuestions.train", "ProbeWriter.probes", "UsePart.part"} <= met


@pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: f"{slot.owner.__name__}.{slot.name}")
def test_a_swapped_part_has_its_own_defaults_over_a_file_and_from_the_shell(slot: Slot, tmp_path: Path) -> None:
    parser, option = parser_of(slot.owner), f"--owner.{slot.name}"
    base, over = tmp_path / "base.yaml", tmp_path / "over.yaml"

    def write(file: Path, kind: type, **given: object) -> str:
        spec = slot.holding({"class_path": path_of(kind), "init_args": given})
        file.write_text(yaml.safe_dump({"owner": {slot.name: spec}}))
        return yaml.safe_dump(spec)

    pairs = leaking(slot.members)
    for before, after in pairs if FIRST[slot.members] is slot else pairs[:1]:
        write(base, before, **taken_over(before, after))
        spec = write(over, after)

        alone = settings(parser, slot, "--config", str(over))
        over_a_file = settings(parser, slot, "--config", str(base), "--config", str(over))
        in_the_shell = settings(parser, slot, "--config", str(base), f"{option}={spec}")

        assert own(after).items() <= dict(held(alone).get("init_args", {})).items(), after
        assert over_a_file == in_the_shell == alone, (before, after)


@pytest.mark.parametrize("option", ["perturbation", "perturbation.class_path"])
def test_the_part_of_a_recipe_that_is_swapped_in_the_shell_runs_at_its_own_strength(option: str) -> None:
    config = [*BEST, f"--model.init_args.pipeline.init_args.{option}"]

    swapped = Cli([*config, "vlcal.perturbations.GaussianNoise"], run=False).model.pipeline.perturbation

    assert type(swapped) is GaussianNoise and swapped.strength == 0.5  # best.yaml has a mask at 0.8


def test_a_class_that_is_named_again_keeps_what_was_set_before() -> None:
    spec = "{class_path: vlcal.perturbations.patches.PatchMask, init_args: {fill: 0.25}}"
    config = [*BEST, "--model.init_args.pipeline.init_args.perturbation"]

    kept = Cli([*config, spec], run=False).model.pipeline.perturbation

    assert type(kept) is PatchMask and (kept.strength, kept.fill) == (0.8, 0.25)


def test_no_two_parts_share_a_default() -> None:
    assert PolicySpec("one").adaptation is not PolicySpec("other").adaptation
    assert VisionQuestions().bad_rows is not VisionQuestions().bad_rows
    assert CorruptionCurve().perturbation is not CorruptionCurve().perturbation
