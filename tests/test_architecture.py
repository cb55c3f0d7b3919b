"""The architecture, checked on the syntax tree so that it also holds for code that no test imports."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vlcal"

# Bottom up: a unit imports from the layers before its own, and from its own where the layer is not PARTS.
# A new module directly below vlcal/ takes its place here.
PARTS = {"perturbations", "certainty", "verifiers", "rewards", "advantages", "objectives"}
TOP = {"modules", "data", "callbacks", "probes"}
COMMANDS = {"cli", "commands", "demo", "api", "__init__", "__main__"}
LAYERS: list[set[str]] = [
    {"errors", "parts", "version"},
    {"files", "json_rows", "own_parts", "recipe", "record_rows"},
    {"functional"},
    {"types", "text"},
    {"scores"},
    PARTS,
    {"evaluation"},  # judges files: no model below it
    {"policy"},
    {"training"},
    TOP,
    {"inference"},  # a trained model from its folder, and what it answers
    {"ui"},  # a page that asks it
    COMMANDS,
]
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}

LIGHTNING = {"lightning", "lightning_fabric", "pytorch_lightning"}
# What these may import beside vlcal and the standard library; the others may import anything.
TENSORS = {"torch", "jaxtyping"}
OUTSIDE: dict[str, set[str]] = {"functional": TENSORS, "text": set(), "text/spans.py": TENSORS}
# These read and write files of numbers, and a spreadsheet must not cost the start of torch.
WITHOUT_TORCH = ("evaluation/outputs", "evaluation/posthoc", "evaluation/report")
# A folder here imports nothing else of its unit: layouts know the records that they are handed, never the policy.
CLOSED = ("policy/layouts",)

FILE_LINES, FUNCTION_LINES, CONSTRUCTOR_ARGUMENTS, FOLDER_FILES = 300, 40, 7, 20


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
            yield from (f"{file}:{line}: {why}" for why in room_violations(file, "/".join(below)))
        elif root.startswith("torch") and file.startswith(WITHOUT_TORCH):
            yield f"{file}:{line}: {Path(file).parent} must not import {root}"
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


def room_violations(file: str, target: str) -> Iterator[str]:
    """Why a file of a closed folder may not import `target`, a path below the package, if it may not."""
    for folder in CLOSED:
        own = target.startswith(folder.split("/")[0])
        if file.startswith(f"{folder}/") and own and not target.startswith(f"{folder}/"):
            yield f"{folder} must not import {target.replace('/', '.')}: it knows its own folder alone"


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


def default_violations(tree: ast.Module, package: Path, path: Path) -> Iterator[str]:
    """Constructors whose default is made once, for all instances: what one of them changes, all have changed."""
    if unit_of(package, path) == "evaluation":  # no config makes what is there
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            defaults = [*node.args.defaults, *(each for each in node.args.kw_defaults if each)]
            marks = {mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)}
            if any(isinstance(each, ast.Call) for each in defaults) and "fresh_defaults" not in marks:
                yield f"{path.relative_to(package).as_posix()}:{node.lineno}: a default part without `fresh_defaults`"


def cycle_violations(trees: dict[Path, ast.Module], package: Path) -> Iterator[str]:
    """Units that import each other in a circle, files that do, and files that import from their own package.

    Every import counts, also in a function and under TYPE_CHECKING: whoever reads one file of a circle must read all of
    it. A name that a package re-exports is an import of its `__init__.py`, and so of all that this imports; the
    `__init__.py` that Python runs on the way to `package.module` does not count. From inside the package, such a name
    is refused whether or not its `__init__.py` leads back today. The root's, which holds the version, is free to all.
    """
    units: dict[str, set[str]] = {}
    files: dict[str, set[str]] = {}
    for path, tree in trees.items():
        file = path.relative_to(package).as_posix()
        targets = {target for _, name in imported(tree, package, path) if (target := file_of(name, trees, package))}
        own = {target for target in targets if target.name == "__init__.py" and target.parent in path.parents}
        yield from (
            f"{file}: imports from its own package {target.parent.name}"
            for target in own - {path, package / "__init__.py"}
        )
        units.setdefault(unit_of(package, path), set()).update(unit_of(package, target) for target in targets)
        files[file] = {target.relative_to(package).as_posix() for target in targets - own}
    for graph in (units, files):
        try:
            TopologicalSorter({node: targets - {node} for node, targets in graph.items()}).prepare()
        except CycleError as error:
            yield f"imports in a circle: {' -> '.join(error.args[1])}"


def file_of(name: str, trees: dict[Path, ast.Module], package: Path) -> Path | None:
    """The file that a dotted name comes from: its module, or the `__init__.py` of the package that re-exports it."""
    root, *parts = name.split(".")
    if root != package.name:
        return None
    below = [package.joinpath(*parts[:end]) for end in range(len(parts), -1, -1)]
    candidates = (file for path in below for file in (path.with_suffix(".py"), path / "__init__.py"))
    return next((file for file in candidates if file in trees), None)


def folder_violations(trees: dict[Path, ast.Module], package: Path) -> Iterator[str]:
    """Folders whose listing no longer fits a screen."""
    for folder, count in Counter(path.parent for path in trees).items():
        if count > FOLDER_FILES:
            yield f"{folder.relative_to(package).as_posix()}: {count} files, more than {FOLDER_FILES}"


def violations(package: Path) -> list[str]:
    """Everything in a package that breaks the architecture, as `file:line: what`."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))}
    checks = (
        *(import_violations, size_violations, conduct_violations),
        *(doctest_violations, docstring_violations, default_violations),
    )
    found = [line for path, tree in trees.items() for check in checks for line in check(tree, package, path)]
    # One statement may import several names from the wrong place.
    return [*dict.fromkeys(found), *cycle_violations(trees, package), *folder_violations(trees, package)]


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
        ("training/pipeline.py", "from vlcal.modules import X", "training must not import modules, which is above it"),
        ("callbacks/table.py", "from vlcal.cli import main", "callbacks must not import cli, which is above it"),
        ("manager.py", "import vlcal.types", "manager has no layer: give it one in LAYERS"),
        (
            "evaluation/report/html.py",
            "from vlcal import policy",
            "evaluation must not import policy, which is above it",
        ),
        ("evaluation/scored.py", "import vlcal.probes.study", "evaluation must not import probes, which is above it"),
        ("evaluation/scored.py", "def f():\n    import vlcal.training", "evaluation must not import training, which"),
        ("evaluation/report/html.py", "from torch import Tensor", "evaluation/report must not import torch"),
        ("evaluation/posthoc/base.py", "import torchmetrics", "evaluation/posthoc must not import torchmetrics"),
        ("evaluation/scored.py", "import lightning", "evaluation must not know lightning"),
        ("policy/spec.py", "import lightning.pytorch as pl", "policy must not know lightning"),
        (
            "policy/layouts/packing.py",
            "from vlcal.policy.policy import Policy",
            "layouts must not import policy.policy",
        ),
        ("policy/layouts/packing.py", "from vlcal.policy import Policy", "layouts must not import policy.Policy"),
        (
            "policy/layouts/packing.py",
            "if TYPE_CHECKING:\n    from ..engines import base",
            "layouts must not import policy.engines.base",
        ),
        ("functional/masked.py", "import numpy as np", "functional must not import numpy"),
        ("text/parse.py", "import torch", "text must not import torch"),
        ("types.py", "x = 1\n" * 301, "types.py: 301 lines, more than 300"),
        ("types.py", "def f():\n" + "    x = 1\n" * 40, "types.py:1: `f` has 41 lines, more than 40"),
        ("types.py", "class A:\n    def __init__(self, a, b, c, d, *, e, f, g, h): ...", "8 constructor arguments"),
        ("types.py", "print(1)", "types.py:1: print"),
        ("types.py", "try: f()\nexcept: pass", "types.py:2: except that swallows anything"),
        ("types.py", "try: f()\nexcept (KeyError, Exception): pass", "types.py:2: except that swallows anything"),
        ("types.py", "class A(ABC):\n    def __call__(self): ...", "types.py:2: `A.__call__` has no docstring"),
        ("policy/spec.py", "class A:\n    def __init__(self, b=B()): ...", "spec.py:2: a default part without `fresh"),
        ("functional/masked.py", "def masked_mean(): ...", "functional/masked.py:1: `masked_mean` has no doctest"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, source: str, expected: str) -> None:
    plant(tmp_path, file, source)

    found = violations(tmp_path / "vlcal")

    assert len(found) == 1, found
    assert expected in found[0]


def test_units_that_import_each_other_are_found_though_no_files_do(tmp_path: Path) -> None:
    plant(tmp_path, "modules/warmup.py", "import vlcal.callbacks.table")
    plant(tmp_path, "callbacks/table.py", "")
    plant(tmp_path, "callbacks/plots.py", "import vlcal.modules.warmup")

    assert violations(tmp_path / "vlcal") in (
        ["imports in a circle: modules -> callbacks -> modules"],
        ["imports in a circle: callbacks -> modules -> callbacks"],
    )


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ("from vlcal.policy.layers import decoder", "from vlcal.policy.policy import Policy"),
        ("import vlcal.policy.layers", "def f():\n    from . import policy"),
        ("from vlcal.policy import layers", "if TYPE_CHECKING:\n    from vlcal.policy.policy import Policy"),
    ],
)
def test_files_that_import_each_other_are_found(tmp_path: Path, there: str, back: str) -> None:
    plant(tmp_path, "policy/policy.py", there)
    plant(tmp_path, "policy/layers.py", back)

    assert violations(tmp_path / "vlcal") in (
        ["imports in a circle: policy/policy.py -> policy/layers.py -> policy/policy.py"],
        ["imports in a circle: policy/layers.py -> policy/policy.py -> policy/layers.py"],
    )


def test_a_circle_through_what_a_package_re_exports_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "policy/engines/__init__.py", "from .base import Engine")
    plant(tmp_path, "policy/engines/base.py", "from vlcal.policy.policy import Policy")
    plant(tmp_path, "policy/policy.py", "from vlcal.policy.engines import Engine")

    (found,) = violations(tmp_path / "vlcal")

    files = ("policy/policy.py", "policy/engines/base.py", "policy/engines/__init__.py")
    assert found.startswith("imports in a circle: ") and all(file in found for file in files)


def test_an_import_from_the_own_package_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "policy/__init__.py", "from vlcal.policy.spec import PolicySpec")
    plant(tmp_path, "policy/engines/base.py", "from vlcal.policy import PolicySpec")
    plant(tmp_path, "policy/spec.py", "")

    assert violations(tmp_path / "vlcal") == ["policy/engines/base.py: imports from its own package policy"]


def test_a_folder_of_more_than_twenty_files_is_found(tmp_path: Path) -> None:
    for number in range(21):
        plant(tmp_path, f"rewards/reward_{number}.py", "")

    assert violations(tmp_path / "vlcal") == ["rewards: 21 files, more than 20"]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cli.py", "import lightning\nfrom vlcal import __version__, functional, modules"),
        ("modules/warmup.py", "from lightning.pytorch import LightningModule\nfrom vlcal.evaluation import X"),
        ("rewards/base.py", "import re\nfrom vlcal.scores import Brier\nfrom .outcome import AccuracyReward"),
        ("text/spans.py", "import torch\nfrom .grammar import Grammar"),
        ("policy/layouts/packing.py", "import torch\nfrom .layout import Layout\nfrom vlcal.types import PromptBatch"),
        ("evaluation/metrics/training.py", "import torchmetrics\nfrom vlcal.evaluation.metrics.levels import X"),
        ("policy/engines/base.py", "from vlcal.policy.policy import Policy\nfrom vlcal import __version__"),
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
