"""A run that goes on in a folder hides what it logs again, and nothing else."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from vlcal.callbacks.event_files import go_on

Entries = list[tuple[str, int, float]]
ACCURACY, LOSS = "val/accuracy", "train/loss"


@pytest.fixture(autouse=True)
def a_name_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event files are named by the second, in which processes of these tests all fall."""
    seconds = count(10**9)
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time.time", lambda: float(next(seconds)))


def log(folder: Path, entries: Entries, done: int | None = None, due: bool = False, loss: float = 0) -> None:
    """Log as one process does: an evaluation, or a fit that goes on behind steps that are done."""
    writer = SummaryWriter(str(folder))
    if done is not None:
        go_on(writer, done, due, {LOSS: loss} if done else {})
    for name, step, value in entries:
        writer.add_scalar(name, value, step)
    writer.close()


def shown(folder: Path) -> Entries:
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return [(name, event.step, event.value) for name in sorted(read.Tags()["scalars"]) for event in read.Scalars(name)]


FIRST: Entries = [(LOSS, 0, 5), (LOSS, 1, 4), (ACCURACY, 1, 0.5)]


def test_an_evaluation_ahead_of_training_is_shown_however_often_the_fit_starts_anew(tmp_path: Path) -> None:
    log(tmp_path, [(ACCURACY, 0, 0.25)])
    for _ in range(3):
        log(tmp_path, FIRST, 0)

    assert shown(tmp_path) == [(LOSS, 0, 5), (LOSS, 1, 4), (ACCURACY, 0, 0.25), (ACCURACY, 1, 0.5)]


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_validation_that_is_repeated_is_shown_once_and_the_step_ahead_of_it_stays(
    tmp_path: Path, restarts: int
) -> None:
    log(tmp_path, [*FIRST, (LOSS, 2, 9)], 0)
    for _ in range(restarts):
        log(tmp_path, [(ACCURACY, 1, 0.5), (LOSS, 2, 3)], 2, due=True)

    assert shown(tmp_path) == [(LOSS, 0, 5), (LOSS, 1, 4), (LOSS, 2, 3), (ACCURACY, 1, 0.5)]


def test_a_step_that_is_repeated_is_shown_once_and_the_validation_ahead_of_it_stays(tmp_path: Path) -> None:
    log(tmp_path, [*FIRST, (LOSS, 2, 9)], 0)
    log(tmp_path, [(LOSS, 2, 3)], 2)

    assert shown(tmp_path) == [(LOSS, 0, 5), (LOSS, 1, 4), (LOSS, 2, 3), (ACCURACY, 1, 0.5)]


@pytest.mark.parametrize("due", [True, False])
def test_a_step_that_was_saved_and_not_logged_is_shown(tmp_path: Path, due: bool) -> None:
    log(tmp_path, [(LOSS, 0, 5)], 0)
    for _ in range(2):
        log(tmp_path, [(ACCURACY, 1, 0.5)] if due else [], 2, due, loss=4)

    assert shown(tmp_path)[:2] == [(LOSS, 0, 5), (LOSS, 1, 4)]


@pytest.mark.parametrize("due", [True, False])
def test_the_first_step_is_shown_where_it_was_saved_and_nothing_was_logged(tmp_path: Path, due: bool) -> None:
    log(tmp_path, [(ACCURACY, 0, 0.25)])
    log(tmp_path, [(LOSS, 1, 4)], 1, due, loss=5)

    assert shown(tmp_path) == [(LOSS, 0, 5), (LOSS, 1, 4), (ACCURACY, 0, 0.25)]


def test_an_evaluation_of_a_checkpoint_stays_where_training_goes_on_from_it(tmp_path: Path) -> None:
    log(tmp_path, FIRST, 0)
    log(tmp_path, [(ACCURACY, 2, 0.75)])
    log(tmp_path, [(LOSS, 2, 3)], 2)

    assert shown(tmp_path) == [(LOSS, 0, 5), (LOSS, 1, 4), (LOSS, 2, 3), (ACCURACY, 1, 0.5), (ACCURACY, 2, 0.75)]


def test_a_picture_of_a_step_stays_and_one_of_the_validation_behind_it_is_shown_once(tmp_path: Path) -> None:
    picture = torch.zeros(3, 2, 2)
    for done, names in ((0, [LOSS, "train/pictured", "val/pictured", ACCURACY]), (2, ["val/pictured", ACCURACY])):
        writer = SummaryWriter(str(tmp_path))
        go_on(writer, done, validation_due=done > 0, last={})
        for name in names:
            writer.add_image(name, picture, 1) if "pictured" in name else writer.add_scalar(name, 1, 1)
        writer.close()

    read = EventAccumulator(str(tmp_path)).Reload()
    assert {name: len(read.Images(name)) for name in read.Tags()["images"]} == {"train/pictured": 1, "val/pictured": 1}
