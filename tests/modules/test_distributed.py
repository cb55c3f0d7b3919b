"""Two ranks on the CPU, each a process of its own, beside one process with the whole step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
Noted = dict[str, Any]


def run(checkpoint: Path, folder: Path, ranks: int) -> list[Noted]:
    """What each rank wrote down."""
    folder.mkdir()
    script = ROOT / "tests" / "modules" / "two_ranks.py"
    subprocess.run(
        [sys.executable, "-W", "ignore", script, str(checkpoint), str(folder), str(ranks)],
        check=True,
        timeout=900,  # a busy machine takes minutes to import torch
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(ranks)]


@pytest.fixture(scope="module")
def both(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Noted]:
    """Two ranks: of a first step the second has more prompts and no valid response, of a second both have two."""
    return run(embedded, tmp_path_factory.mktemp("ranks") / "both", ranks=2)


@pytest.fixture(scope="module")
def alone(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Noted:
    """One process with the prompts of both."""
    return run(embedded, tmp_path_factory.mktemp("ranks") / "alone", ranks=1)[0]


def test_each_rank_gets_prompts_of_its_own_and_as_many_passes_as_they_need(both: list[Noted]) -> None:
    first, second = both

    assert first["prompts"] == [("spoken 0",), ("spoken 3", "spoken 3 again")]
    assert second["prompts"] == [("silent 1", "silent 1 again"), ("spoken 7", "spoken 7 again")]
    assert first["passes"][0] < second["passes"][0]
    assert second["labels"][0].isnan().all() and not first["labels"][0].isnan().all()


@pytest.mark.parametrize("step", [0, 1], ids=["uneven, a rank without a valid response", "even"])
def test_gradients_of_two_ranks_are_those_of_one_process(both: list[Noted], alone: Noted, step: int) -> None:
    sought = alone["gradients"][step]
    norm = torch.cat([value.flatten() for value in sought.values()]).norm()

    assert norm > 1e-3
    for noted in both:
        found = noted["gradients"][step]
        assert torch.cat([(found[name] - value).flatten() for name, value in sought.items()]).norm() < 1e-6 * norm


@pytest.mark.parametrize("step", [0, 1], ids=["standardised over the step", "fitted to recent answers"])
def test_labels_compare_the_responses_of_all_ranks(both: list[Noted], alone: Noted, step: int) -> None:
    (first, second), whole = (noted["labels"][step].split(16) for noted in both), alone["labels"][step].split(16)

    dealt = [first[0], second[0], second[1]] if step == 0 else [first[0], second[0], first[1], second[1]]
    for found, sought in zip(dealt, whole, strict=True):
        torch.testing.assert_close(found, sought, rtol=0, atol=1e-6, equal_nan=True)
    known = alone["labels"][step]
    assert known[~known.isnan()].std() > 1e-3


def test_what_parts_remember_is_of_all_ranks(both: list[Noted], alone: Noted) -> None:
    sought = alone["remembered"]["certainty"]["recent"]

    assert len(sought) > 64
    for noted in both:
        torch.testing.assert_close(noted["remembered"]["certainty"]["recent"], sought, rtol=0, atol=1e-5)


@pytest.mark.parametrize("step", [0, 1])
def test_what_is_logged_of_a_step_is_of_all_ranks(both: list[Noted], alone: Noted, step: int) -> None:
    sought = alone["figures"][step]

    assert {"train/objective/loss", "train/calibration/ece", "train/reward/total"} <= sought.keys()
    for noted in both:
        assert noted["figures"][step] == pytest.approx(sought, rel=1e-4, abs=1e-6, nan_ok=True)


def test_ranks_with_fewer_prompts_take_part_in_every_update(both: list[Noted]) -> None:
    assert [noted["updates"] for noted in both] == [2, 2]  # of one prompt and of two


def test_ranks_end_with_equal_weights(both: list[Noted]) -> None:
    first, second = (noted["weights"] for noted in both)

    assert first and all(torch.equal(second[name], weight) for name, weight in first.items())


def test_validation_gives_the_completions_and_the_figures_of_one_process(both: list[Noted], alone: Noted) -> None:
    first, second = both  # two ranks have two of three prompts each, one of them twice

    assert {len(noted["texts"]) for noted in both} == {2} and len(alone["texts"]) == 3
    assert first["texts"] | second["texts"] == alone["texts"]
    assert alone["before"]["val/calibration/n"] == 3
    for noted in both:
        assert noted["before"] == pytest.approx(alone["before"], rel=1e-6, nan_ok=True)
