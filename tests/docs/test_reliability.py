"""docs/reliability.md: every promise has a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\| [^a-z|][^|]*\. \| [^a-z|][^|]*\. \| (`[\w/]+\.py::\w+`(?:, `[\w/]+\.py::\w+`)*) \|")


def promises() -> list[str]:
    lines = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("|")][2:]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_is_two_sentences_and_its_tests() -> None:
    assert len(promises()) > 50
    assert [line for line in promises() if not ROW.fullmatch(line)] == []


def test_every_test_of_a_promise_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", "\n".join(promises()))

    assert [f"{file}::{name}" for file, name in named if name not in functions(ROOT / file)] == []
