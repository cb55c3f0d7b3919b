"""The committed versions: what `make lock` wrote belongs to pyproject.toml, and names nothing of one machine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = [ROOT / "constraints.txt", ROOT / "constraints-lowest.txt"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(lock: Path) -> list[Requirement]:
    return [Requirement(line) for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_exact_versions_and_no_address(lock: Path) -> None:
    lines = lock.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if not re.fullmatch(r"#.*|[a-z0-9-]+==[\w.]+( ; .+)?", line)] == []
    assert [line for line in lines if "://" in line or (line.startswith("#") and re.search(r"\s/", line))] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_dependency_has_a_version_that_pyproject_allows(lock: Path) -> None:
    # The documentation has an environment of its own, which nothing of the package runs in.
    extras = [lines for name, lines in PROJECT["optional-dependencies"].items() if name != "docs"]
    asked = map(Requirement, [*PROJECT["dependencies"], *(line for extra in extras for line in extra)])

    for one in (one for one in asked if one.name != PROJECT["name"]):
        versions = [str(pin.specifier)[2:] for pin in pins(lock) if pin.name == canonicalize_name(one.name)]
        assert versions, f"run `make lock`: {lock.name} has no {one.name}"
        assert all(one.specifier.contains(version) for version in versions), f"run `make lock`: {one}, {versions}"


def test_the_libraries_of_cuda_are_for_linux_alone() -> None:
    for pin in (pin for lock in LOCKS for pin in pins(lock) if pin.name.startswith(("nvidia-", "cuda-", "triton"))):
        assert pin.marker is not None and not pin.marker.evaluate({"sys_platform": "darwin"}), pin
