"""The architecture, checked on the syntax tree so that it also holds for code that no test imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vlcal"

# Bottom up: a unit imports from the layers before its own, and from its own where the layer is not PARTS.
# A new module directly below vlcal/ takes its place here.
PARTS = {"perturbations", "certainty", "verifiers", "rewards", "advantages", "objectives"}
STEP = {"pipeline", "reader", "sampling", "optimization", "learner"}
TOP = {"modules", "data", "callbacks", "evaluation"}
COMMANDS = {"cli", "commands", "demo", "__main__"}
LAYERS: list[set[str]] = [{"functional"}, {"types", "text"}, {"scores"}, PARTS, {"policy"}, STEP, TOP, COMMANDS]
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}

LIGHTNING = {"lightning", "lightning_fabric", "pytorch_lightning"}
# What these may import beside vlcal and the standard library; the others may import anything.
TENSORS = {"torch", "jaxtyping"}
OUTSIDE: dict[str, set[str]] = {"functional": TENSORS, "text": set(), "text/spans.py": TENSORS}

FILE_LINES, FUNCTION_LINES, CONSTRUCTOR_ARGUMENTS = 300, 40, 7


def unit_of(package: Path, path: Path) -> str:
    """The part of the tree a file belongs to: `policy` for vlcal/policy/spec.py, `types` for vlcal/types.py."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def imported(tree: ast.AST, package: Path, path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every import, wherever it stands in the file; relative ones are resolved."""
    parents = [package.name, *path.relative_to(package).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def import_violations(tree: ast.AST, package: Path, path: Path) -> Iterator[str]:
    """Imports that point up or across, and libraries where they do not belong."""
    unit, file = unit_of(package, path), path.relative_to(package).as_posix()
    for line, name in imported(tree, package, path):
        root, *below = name.split(".")
        if root == package.name:
            yield from (f"{file}:{line}: {why}" for why in layer_violations(unit, below[0] if below else "__init__"))
        elif root in LIGHTNING and unit not in TOP | COMMANDS:
            yield f"{file}:{line}: {unit} must not know {root}"
        elif root not in sys.stdlib_module_names | OUTSIDE.get(file, OUTSIDE.get(unit, {root})):
            yield f"{file}:{line}: {unit} must not import {root}"


def layer_violations(unit: str, target: str) -> Iterator[str]:
    """Why `unit` may not import `target`, if it may not."""
    if target in {unit, "__init__", "__version__"}:
        return
    missing = [name for name in (unit, target) if name not in RANK]
    if missing:
        yield f"{missing[0]} has no layer: give it one in LAYERS"
    elif RANK[target] > RANK[unit]:
        yield f"{unit} must not import {target}, which is above it"
    elif unit in PARTS and target in PARTS:
        yield f"{unit} must not import {target}: parts do not know each other"


def size_violations(tree: ast.AST, package: Path, path: Path) -> Iterator[str]:
    """Files, functions and constructors that outgrew a reader."""
    file = path.relative_to(package).as_posix()
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > FILE_LINES:
        yield f"{file}: {lines} lines, more than {FILE_LINES}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (length := function_length(node)) > FUNCTION_LINES:
            yield f"{file}:{node.lineno}: `{node.name}` has {length} lines, more than {FUNCTION_LINES}"
        # `self` is no argument.
        arguments = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]) - 1
        if node.name == "__init__" and arguments > CONSTRUCTOR_ARGUMENTS:
            yield f"{file}:{node.lineno}: {arguments} constructor arguments, more than {CONSTRUCTOR_ARGUMENTS}"


def function_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end less the docstring: explaining more must not cost anything."""
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return length


def conduct_violations(tree: ast.AST, package: Path, path: Path) -> Iterator[str]:
    """Prints, and handlers that swallow whatever comes."""
    file = path.relative_to(package).as_posix()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"{file}:{node.lineno}: print"
        # One that raises at its end catches to clean up or to explain, and swallows nothing.
        if isinstance(node, ast.ExceptHandler) and not isinstance(node.body[-1], ast.Raise):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {getattr(kind, "id", None) for kind in caught}
            if node.type is None or names & {"Exception", "BaseException"}:
                yield f"{file}:{node.lineno}: except that swallows anything"


def doctest_violations(tree: ast.Module, package: Path, path: Path) -> Iterator[str]:
    """Public functions of `functional` without an example."""
    if unit_of(package, path) != "functional":
        return
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if public and ">>> " not in (ast.get_docstring(node) or ""):
            yield f"{path.relative_to(package).as_posix()}:{node.lineno}: `{node.name}` has no doctest"


def docstring_violations(tree: ast.Module, package: Path, path: Path) -> Iterator[str]:
    """Public methods without a docstring, in classes that have no base to inherit the meaning from."""
    for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        if {ast.unparse(base) for base in kind.bases} - {"ABC", "Protocol"}:
            continue
        for node in kind.body:
            public = isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__call__")
            setter = public and any(getattr(mark, "attr", None) == "setter" for mark in node.decorator_list)
            if public and not setter and not ast.get_docstring(node):
                file = path.relative_to(package).as_posix()
                yield f"{file}:{node.lineno}: `{kind.name}.{node.name}` has no docstring"


def cycle_violations(trees: dict[Path, ast.Module], package: Path) -> Iterator[str]:
    """Units of one layer that import each other in a circle."""
    graph: dict[str, set[str]] = {}
    for path, tree in trees.items():
        unit = unit_of(package, path)
        names = (name.split(".") for _, name in imported(tree, package, path))
        targets = {parts[1] for parts in names if parts[0] == package.name and len(parts) > 1}
        graph.setdefault(unit, set()).update(targets - {unit})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"imports in a circle: {' -> '.join(error.args[1])}"


def violations(package: Path) -> list[str]:
    """Everything in a package that breaks the architecture, as `file:line: what`."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))}
    checks = (import_violations, size_violations, conduct_violations, doctest_violations, docstring_violations)
    found = [line for path, tree in trees.items() for check in checks for line in check(tree, package, path)]
    # One statement may import several names from the wrong place.
    return list(dict.fromkeys(found)) + list(cycle_violations(trees, package))


def test_the_package_keeps_its_architecture() -> None:
    assert list(PACKAGE.rglob("*.py")), f"nothing to check in {PACKAGE}"
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("functional/masked.py", "from vlcal.types import Spans", "functional must not import types, which is above"),
        ("text/parse.py", "def f():\n    import vlcal.policy.spec", "text must not import policy, which is above it"),
        ("scores/proper.py", "from vlcal import rewards", "scores must not import rewards, which is above it"),
        ("scores/proper.py", "from ..policy import spec", "scores must not import policy, which is above it"),
        ("scores/proper.py", "from .. import policy", "scores must not import policy, which is above it"),
        ("rewards/base.py", "from vlcal.certainty import X", "rewards must not import certainty: parts do not know"),
        ("pipeline.py", "from vlcal.modules import X", "pipeline must not import modules, which is above it"),
        ("callbacks/table.py", "from vlcal.cli import main", "callbacks must not import cli, which is above it"),
        ("manager.py", "import vlcal.types", "manager has no layer: give it one in LAYERS"),
        ("policy/spec.py", "import lightning.pytorch as pl", "policy must not know lightning"),
        ("functional/masked.py", "import numpy as np", "functional must not import numpy"),
        ("text/parse.py", "import torch", "text must not import torch"),
        ("types.py", "x = 1\n" * 301, "types.py: 301 lines, more than 300"),
        ("types.py", "def f():\n" + "    x = 1\n" * 40, "types.py:1: `f` has 41 lines, more than 40"),
        ("types.py", "class A:\n    def __init__(self, a, b, c, d, *, e, f, g, h): ...", "8 constructor arguments"),
        ("types.py", "print(1)", "types.py:1: print"),
        ("types.py", "try: f()\nexcept: pass", "types.py:2: except that swallows anything"),
        ("types.py", "try: f()\nexcept (KeyError, Exception): pass", "types.py:2: except that swallows anything"),
        ("types.py", "class A(ABC):\n    def __call__(self): ...", "types.py:2: `A.__call__` has no docstring"),
        ("functional/masked.py", "def masked_mean(): ...", "functional/masked.py:1: `masked_mean` has no doctest"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, source: str, expected: str) -> None:
    plant(tmp_path, file, source)

    found = violations(tmp_path / "vlcal")

    assert len(found) == 1, found
    assert expected in found[0]


def test_units_of_one_layer_that_import_each_other_are_found(tmp_path: Path) -> None:
    plant(tmp_path, "modules/warmup.py", "import vlcal.callbacks.table")
    plant(tmp_path, "callbacks/table.py", "import vlcal.modules.warmup")

    assert violations(tmp_path / "vlcal") in (
        ["imports in a circle: modules -> callbacks -> modules"],
        ["imports in a circle: callbacks -> modules -> callbacks"],
    )


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cli.py", "import lightning\nfrom vlcal import __version__, functional, modules"),
        ("modules/warmup.py", "from lightning.pytorch import LightningModule\nfrom vlcal.evaluation import X"),
        ("rewards/base.py", "import re\nfrom vlcal.scores import Brier\nfrom .outcome import AccuracyReward"),
        ("text/spans.py", "import torch\nfrom .grammar import Grammar"),
        ("types.py", 'def f():\n    """Gives.\n' + "\n    More.\n" * 40 + '    """\n'),
        ("types.py", "try: f()\nexcept Exception as e:\n    raise ValueError from e"),
        ("functional/masked.py", "def _hidden(): ..."),
        ("types.py", "class A(B):\n    def __call__(self): ..."),
    ],
)
def test_what_is_allowed_is_not_reported(tmp_path: Path, file: str, source: str) -> None:
    plant(tmp_path, file, source)

    assert violations(tmp_path / "vlcal") == []


def plant(root: Path, file: str, source: str) -> None:
    """Writes one file of a package that holds nothing else."""
    path = root / "vlcal" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
