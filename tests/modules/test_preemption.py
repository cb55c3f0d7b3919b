"""A run that is told to end saves behind the step that runs, and under SLURM has itself queued again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment

from tests.modules.interrupted import Trace, run

# Of Lightning: manual optimization, few workers, a job that `srun` did not start.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
EPOCHS = {"max_epochs": 3, "limit_val_batches": 0}
SPARSE = {"every_n_train_steps": 100}  # no checkpoint of its own
AHEAD_OF_BACKWARD = (
    6  # of the second step: the epoch begins, a batch begins, backward, it ends, a batch begins, backward
)
Queue = Callable[..., Path]


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A job of SLURM whose `scontrol` writes down what it is asked for."""

    def job(status: int = 0, **variables: str) -> Path:
        asked, programs = tmp_path / "asked", tmp_path / "bin"
        programs.mkdir()
        (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {asked}\necho no such job >&2\nexit {status}\n')
        (programs / "scontrol").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        known = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", **variables}
        for name, value in known.items():
            monkeypatch.setenv(name, value)
        return asked

    return job


def interrupted(folder: Path, number: int, **settings: Any) -> tuple[int | None, dict[str, Any]]:
    """The status of a run that gets a signal in its second step, and what it saved."""
    status = run(folder, Trace(), EPOCHS | settings, SPARSE, AHEAD_OF_BACKWARD, send(number))
    return status, torch.load(folder / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_behind_the_step_that_runs(tmp_path: Path, number: int) -> None:
    sought, found = Trace(), Trace()
    assert run(tmp_path / "straight", sought, EPOCHS, SPARSE, None, send(number)) == 0

    status, saved = interrupted(tmp_path / "broken", number)

    assert (status, saved["global_step"]) == (128 + number, 2)
    assert run(tmp_path / "broken", found, EPOCHS, SPARSE, None, send(number)) == 0
    assert min(found.steps) == 2 and found.weights == sought.weights


@pytest.mark.parametrize(
    ("variables", "job"), [({}, "77"), ({"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "4"}, "70_4")]
)
def test_a_job_whose_time_ends_is_queued_again(
    tmp_path: Path, slurm: Queue, variables: dict[str, str], job: str
) -> None:
    asked = slurm(**variables)

    status, saved = interrupted(tmp_path, signal.SIGUSR1, plugins=[SLURMEnvironment()])

    assert (status, saved["global_step"]) == (128 + signal.SIGUSR1, 2)
    assert asked.read_text() == f"requeue {job}\n"


@pytest.mark.parametrize(
    ("number", "requeues"), [(signal.SIGTERM, True), (signal.SIGUSR1, False)], ids=["cancelled", "switched off"]
)
def test_a_job_that_is_cancelled_or_shall_not_requeue_is_saved_alone(
    tmp_path: Path, slurm: Queue, number: int, requeues: bool
) -> None:
    asked = slurm()

    status, saved = interrupted(tmp_path, number, plugins=[SLURMEnvironment(auto_requeue=requeues)])

    assert (status, saved["global_step"]) == (128 + number, 2) and not asked.exists()


def test_the_signal_of_the_environment_requeues(tmp_path: Path, slurm: Queue) -> None:
    asked = slurm()

    interrupted(tmp_path, signal.SIGUSR2, plugins=[SLURMEnvironment(requeue_signal=signal.SIGUSR2)])

    assert asked.read_text() == "requeue 77\n"


def test_a_queue_that_refuses_is_said_and_the_state_is_kept(
    tmp_path: Path, slurm: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    slurm(status=1)

    _, saved = interrupted(tmp_path, signal.SIGUSR1, plugins=[SLURMEnvironment()])

    assert saved["global_step"] == 2
    assert "The run is saved and not queued again: scontrol requeue 77 failed, no such job" in caplog.text


def test_a_run_that_saves_nothing_is_not_queued_again(tmp_path: Path, slurm: Queue) -> None:
    asked = slurm()

    settings = EPOCHS | {"plugins": [SLURMEnvironment()]}
    with pytest.warns(UserWarning, match="saved nothing, and is not queued again"):
        status = run(tmp_path, Trace(), settings, None, AHEAD_OF_BACKWARD, send(signal.SIGUSR1))

    assert status == 128 + signal.SIGUSR1 and not asked.exists()


def test_handlers_of_the_process_are_put_back(tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}

    assert run(tmp_path, Trace(), EPOCHS, SPARSE, None, send(signal.SIGTERM)) == 0

    assert {number: signal.getsignal(number) for number in before} == before
