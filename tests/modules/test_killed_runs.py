"""A run that was killed and resumed ends as one without a break: weights, optimizer, figures, prompts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.survival import survive
from tests.modules.killing import ROWS, STEPS, Runs, config, differences, end, journal, write_questions

MOMENTS = 20


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_questions(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="module")
def fit() -> Iterator[Runs]:
    with Runs() as runs:
        yield runs


@pytest.fixture(scope="module")
def straight(fit: Runs, embedded: Path, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a break."""
    folder = tmp_path_factory.mktemp("straight")
    assert fit(config(embedded, folder, questions)) == 0
    return folder


def test_a_run_without_a_break_meets_every_prompt_once_an_epoch_in_another_order(straight: Path) -> None:
    steps = journal(straight)
    first, second = ([name for step in range(*epoch) for name in steps[step, 0]] for epoch in ((0, 4), (4, 8)))

    assert sorted(steps) == [(step, 0) for step in range(STEPS)] and end(straight)["global_step"] == STEPS
    assert len(set(first)) == len(first) == len(set(second)) == ROWS and first != second


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("update 3", -9),  # between two updates of a step in the middle of an epoch
        ("rename 3", -9),  # when a checkpoint is written, but not yet in its place
        ("rollout 5", -9),  # behind a checkpoint that was saved at the end of an epoch
        ("update 7", -9),  # in the middle of the second epoch, with a process that has read ahead
        ("sigterm rollout 0", 143),
        ("sigterm validation 2", 143),
    ],
)
def test_an_interrupted_run_ends_as_one_without_a_break(
    fit: Runs, embedded: Path, questions: Path, straight: Path, tmp_path: Path, where: str, status: int
) -> None:
    described = config(embedded, tmp_path, questions, workers=int(where == "update 7"))

    assert fit(described, *ending(described, where)) == status
    if status > 0:
        assert end(tmp_path)["global_step"] == int(where[-1]) + 1  # which no callback of the recipe saves
    assert fit(described, "--ckpt_path", "last") == 0

    assert differences(tmp_path, straight) == []


def test_a_run_of_two_processes_that_was_killed_ends_as_one_without_a_break(
    fit: Runs, embedded: Path, questions: Path, tmp_path: Path
) -> None:
    whole, broken = (config(embedded, tmp_path / name, questions) for name in ("whole", "broken"))

    assert fit(whole, ranks=2) == 0
    assert fit(broken, *ending(broken, "update 3"), ranks=2) == -9
    assert fit(broken, "--ckpt_path", "last", ranks=2) == 0

    steps = journal(tmp_path / "whole")
    assert sorted(steps) == [(step, rank) for step in range(STEPS // 2) for rank in (0, 1)]
    assert len({name for ids in steps.values() for name in ids}) == ROWS
    assert differences(tmp_path / "broken", tmp_path / "whole") == []


def test_a_run_that_is_killed_at_random_moments_ends_as_one_without_a_break(
    fit: Runs, embedded: Path, questions: Path, straight: Path, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails

    survived = survive(fit, lambda folder: config(embedded, folder, questions), straight, tmp_path, MOMENTS, seed)

    assert survived.kills == MOMENTS and survived.runs and survived.different == []


def ending(described: dict[str, Any], where: str) -> list[str]:
    """Arguments that have the journal end the process there."""
    (notes,) = (each for each in described["trainer"]["callbacks"] if each["class_path"].endswith("Journal"))
    others = [each for each in described["trainer"]["callbacks"] if each is not notes]
    ended = {**notes, "init_args": {**notes["init_args"], "end": where}}
    return ["--trainer.callbacks", json.dumps([*others, ended])]
