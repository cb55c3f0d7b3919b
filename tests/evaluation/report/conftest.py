"""Prediction files made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Rows = Sequence[dict[str, Any]]


def response(number: int = 0, **changes: Any) -> dict[str, Any]:
    """One right response that states 0.9 of everything."""
    return {
        "id": f"q{number}",
        "question": f"What is shown in picture {number}?",
        "target": "7",
        "response": "<think><vision>a 7</vision><reasoning>7</reasoning></think>\\boxed{7}",
        "answer": "7",
        "well_formed": True,
        "truncated": False,
        "correct": 1.0,
        "visual": 0.9,
        "reasoning": 0.9,
        "overall": 0.81,
        "perception_correct": 1.0,
        "reasoning_correct": 1.0,
        "certainty": 0.6,
        "certainty_score": 1.5,
        "vision_tokens": [["a ", 0.2], ["7", 0.9]],
        "images": [],
    } | changes


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """Makes a response; `changes` replace columns."""
    return response


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Rows], Path]:
    """Writes rows as JSON lines below the test's folder."""

    def written(name: str, rows: Rows) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
        return path

    return written


@pytest.fixture(scope="session")
def mixed() -> Callable[..., list[dict[str, Any]]]:
    """Eight responses: some surely right, some surely wrong, one unsure but right, one unparsed."""

    def made(**changes: Any) -> list[dict[str, Any]]:
        right = [response(number) for number in range(4)]
        wrong = [response(number, correct=0.0, perception_correct=0.0, answer="1") for number in (4, 5)]
        unsure = response(6, visual=0.1, reasoning=0.2, overall=0.02)
        absent = dict.fromkeys(("visual", "reasoning", "overall", "answer", "vision_tokens"))
        broken = response(7, correct=0.0, well_formed=False, response="I cannot tell", **absent)
        return [each | changes for each in [*right, *wrong, unsure, broken]]

    return made
