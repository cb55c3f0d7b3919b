"""Two ranks on the CPU, each a process of its own, beside one process that does the work of either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
Noted = dict[str, Any]


def run(checkpoint: Path, folder: Path, rows: list[int], ranks: int = 1) -> list[Noted]:
    """What each rank wrote down."""
    folder.mkdir()
    script = ROOT / "tests" / "modules" / "two_ranks.py"
    subprocess.run(
        [sys.executable, "-W", "ignore", script, str(checkpoint), str(folder), str(ranks), json.dumps(rows)],
        check=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(ranks)]


@pytest.fixture(scope="module")
def both(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Noted]:
    """Two ranks that share four prompts."""
    return run(embedded, tmp_path_factory.mktemp("ranks") / "both", [0, 1, 2, 3], ranks=2)


@pytest.fixture(scope="module")
def each(embedded: Path, both: list[Noted], tmp_path_factory: pytest.TempPathFactory) -> list[Noted]:
    """One process with the prompts of the first rank, another with those of the second."""
    folder = tmp_path_factory.mktemp("alone")
    shares = [[int(name.split()[1]) for name in noted["prompts"]] for noted in both]
    return [run(embedded, folder / str(rank), rows)[0] for rank, rows in enumerate(shares)]


def test_each_rank_gets_prompts_of_its_own(both: list[Noted]) -> None:
    first, second = (set(noted["prompts"]) for noted in both)

    assert len(first) == len(second) == 2
    assert first | second == {f"prompt {row}" for row in range(4)}


def test_gradients_are_averaged_over_ranks_that_need_different_numbers_of_chunks_and_passes(
    both: list[Noted], each: list[Noted]
) -> None:
    (first, second), (alone, other) = both, each

    assert first["passes"][0] == alone["passes"][0] != second["passes"][0] == other["passes"][0]
    for name, found in first["gradients"][0].items():
        expected = (alone["gradients"][0][name] + other["gradients"][0][name]) / 2
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        assert torch.equal(second["gradients"][0][name], found)
    assert any(float(gradient.abs().max()) > 1e-4 for gradient in first["gradients"][0].values())


def test_ranks_end_with_equal_weights(both: list[Noted]) -> None:
    first, second = (noted["weights"] for noted in both)

    assert first and all(torch.equal(second[name], weight) for name, weight in first.items())


def test_validation_figures_are_those_of_all_ranks_and_count_no_prompt_twice(both: list[Noted]) -> None:
    first, second = (noted["figures"] for noted in both)

    assert first["val/calibration/n"] == 3  # shared out among two ranks, one prompt is judged twice
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
