"""Whatever one value of a config is replaced by: the parts are made, or an error says what is wrong."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentError

from vlcal.cli import main
from vlcal.commands.trainer import Cli
from vlcal.errors import UserError, causes
from vlcal.inference.run_config import RunConfig

BEST = yaml.safe_load((Path(__file__).parents[2] / "configs" / "digits" / "best.yaml").read_text(encoding="utf-8"))
BEST["trainer"] |= {"callbacks": [], "logger": False}
RUNS_CODE = {"class_path": "os.system", "init_args": {"command": "touch owned"}}
VALUES = [
    *(None, True, 0, -1, 1.5, 10**400, float("nan"), float("inf"), "", "x", "1e5", "-", "\0", "\ud7ff", "os.system"),
    *(
        "${nope}",
        "${..}",
        "${",
        "${env:HOME}",
        "${oc.env:NOPE}",
        "!!python/object:os.system",
        RUNS_CODE,
        {},
        [],
        [1, 2],
    ),
    *({"a": {"b": 1}}, {"class_path": 5}, {"init_args": {}}, {"class_path": "vlcal.rewards.ZeroReward"}),
]


def places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value of a config stands."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


PLACES = [place for place in places(BEST) if place[0] in {"model", "data"} and len(place) > 1]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configs") / "config.yaml"


def write(config: Path, place: tuple[Any, ...], value: Any) -> None:
    """The recipe with another value in one place."""
    changed = copy.deepcopy(BEST)
    node = changed
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    config.write_text(yaml.safe_dump(changed), encoding="utf-8")


# Lightning's parser takes most of a second an example: a tenth of what the profile asks for.
@settings(max_examples=max(5, settings.default.max_examples // 10))
@given(place=st.sampled_from(PLACES), value=st.sampled_from(VALUES))
def test_a_config_with_any_value_makes_its_parts_or_is_refused(
    config: Path, place: tuple[Any, ...], value: Any
) -> None:
    write(config, place, value)

    for read in (lambda: Cli(["--config", str(config)], run=False), lambda: RunConfig(config).policy()):
        try:
            read()
        except ArgumentError:
            continue
        except Exception as error:
            if not any(isinstance(cause, UserError) for cause in causes(error)):
                raise
    assert not Path("owned").exists()


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=6)
trees = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*BEST, "class_path", "init_args", "recipe", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
YAML_PIECES = [
    *("model", "data", "trainer", "recipe", "class_path", "init_args", "seed_everything", "vlcal.rewards.ZeroReward"),
    *(
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "<<: ",
        "!!python/object:os.system ",
        "!x ",
        "|",
        ">",
    ),
    *(
        "'",
        '"',
        "#",
        "%",
        "@",
        "---\n",
        "...\n",
        "\t",
        "1",
        "null",
        "${x}",
        "?",
        "\ufeff",
        "=",
        "0x",
        "2001-01-01",
        "\0",
    ),
]


@settings(max_examples=max(10, settings.default.max_examples // 4))
@given(
    content=st.lists(st.sampled_from(YAML_PIECES), max_size=25).map(lambda pieces: "".join(pieces).encode())
    | st.binary(max_size=40)
    | trees.map(lambda tree: yaml.safe_dump(tree).encode())
)
def test_a_file_of_any_yaml_or_none_is_refused_and_no_traceback(config: Path, content: bytes) -> None:
    config.write_bytes(content)

    for read in (lambda: Cli(["--config", str(config)], run=False), lambda: RunConfig(config).policy()):
        try:
            read()
        except (ArgumentError, SystemExit):
            continue
        except Exception as error:
            if not any(isinstance(cause, UserError) for cause in causes(error)):
                raise
    assert not Path("owned").exists()


def test_null_where_a_number_belongs_is_refused_by_the_part(config: Path) -> None:
    write(config, ("model", "init_args", "sampling", "init_args", "training", "init_args", "max_new_tokens"), None)

    with pytest.raises(UserError, match="`config` must give every part what it takes, and FedBackCertainty was .*None"):
        Cli(["--config", str(config)], run=False)


@pytest.mark.parametrize("value", ["${nope}", "${..}", "${", "${env:HOME}", "${oc.env:VLCAL_NOPE}"])
def test_a_reference_to_nothing_is_refused(config: Path, value: str) -> None:
    write(config, ("seed_everything",), value)

    with pytest.raises((UserError, ArgumentError)):
        Cli(["--config", str(config)], run=False)


def test_a_setting_that_lightning_refuses_is_one_line(config: Path) -> None:
    write(config, ("trainer", "profiler"), "guess")

    with pytest.raises(UserError, match="^`trainer` must be set as Lightning takes it: .*`profiler`.*"):
        Cli(["--config", str(config)], run=False)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model",), {"class_path": "strangers.Part"}),
        (("model", "init_args", "pipeline", "init_args", "perturbation"), {"class_path": "strangers.Part"}),
        (("data",), {"class_path": "strangers.Part"}),
        (("trainer", "callbacks"), [{"class_path": "strangers.Part"}]),
        (("trainer", "logger"), {"class_path": "strangers.Part"}),
        (
            ("trainer", "callbacks"),
            [{"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"setup": "strangers.Part"}}],
        ),
    ],
)
def test_a_module_that_nobody_trusts_is_not_imported(
    config: Path,
    place: tuple[str, ...],
    value: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "strangers.py").write_text("raise SystemExit('the code of a stranger runs')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write(config, place, value)

    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", str(config)])

    assert end.value.code == 2
    assert "VLCAL_PARTS=strangers in the environment" in capsys.readouterr().err
    assert "strangers" not in sys.modules


def test_a_config_beside_weights_imports_no_module_that_nobody_trusts(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strangers.py").write_text("raise SystemExit('the code of a stranger runs')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    write(config, ("model", "init_args", "policy", "init_args", "adaptation"), {"class_path": "strangers.Part"})

    with pytest.raises(UserError, match=r"got strangers\.Part\. If it is yours, set VLCAL_PARTS=strangers"):
        RunConfig(config).policy()
