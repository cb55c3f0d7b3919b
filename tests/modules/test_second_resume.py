"""A run that is interrupted again and again, wherever Lightning has its counters, takes the steps of a straight one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.modules.interrupted import Trace, kill, run, terminate

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of Lightning: manual optimization, few workers
EPOCHS = {"max_epochs": 3}
STEPS = {"max_steps": 10, "max_epochs": -1}  # two and a half epochs
EVERY_SECOND = {"check_val_every_n_epoch": None, "val_check_interval": 2}
EVERY_THIRD = {"check_val_every_n_epoch": None, "val_check_interval": 3}
EACH_EPOCH = {"val_check_interval": 1.0}
NO_VALIDATION = {"limit_val_batches": 0}


@pytest.mark.parametrize(
    ("settings", "saves", "end", "moments"),
    [
        # Behind the last batch of an epoch, then in the middle of the next: the second resume began the epoch anew.
        (EPOCHS | NO_VALIDATION, {"every_n_train_steps": 2}, kill, (15, 9, 5)),
        (EPOCHS | NO_VALIDATION, {"every_n_train_steps": 2}, kill, (14, 12, 15)),
        (STEPS | NO_VALIDATION, {"every_n_train_steps": 2}, kill, (15, 9, 5)),
        # In a validation for which a checkpoint was written ahead of it: the validation was left out.
        (EPOCHS | EVERY_SECOND, {"every_n_train_steps": 2}, kill, (9, 5, 21)),
        (EPOCHS | EACH_EPOCH, {"every_n_train_steps": 4}, kill, (16, 3, 20)),
        # Behind an epoch or a validation, where a limit of steps took the epoch for one that goes on.
        (STEPS | NO_VALIDATION, {"save_on_train_epoch_end": True}, kill, (22,)),
        (STEPS | EACH_EPOCH, {}, kill, (27, 14)),
        # Told to end: in a step, in a validation, in a validation that is made up for, ahead of a first batch.
        (EPOCHS | EVERY_THIRD, {"every_n_train_steps": 2}, terminate, (17, 26, 8)),
        (STEPS | EVERY_SECOND, {"every_n_train_steps": 2}, terminate, (3, 26, 3)),
        (EPOCHS | EVERY_SECOND, {}, terminate, (6, 22, 3)),
        (EPOCHS | EVERY_SECOND, {"every_n_train_steps": 2}, terminate, (11, 14, 4)),
    ],
)
def test_a_run_that_is_interrupted_several_times_takes_the_steps_of_one_without_a_break(
    tmp_path: Path, settings: dict[str, Any], saves: dict[str, Any], end: Any, moments: tuple[int, ...]
) -> None:
    sought, found = Trace(), Trace()
    assert run(tmp_path / "straight", sought, settings, saves, None, end) == 0

    ended_by = [run(tmp_path / "broken", found, settings, saves, moment, end) for moment in moments]
    assert ended_by == [None if end is kill else 128 + signal.SIGTERM] * len(moments)
    assert run(tmp_path / "broken", found, settings, saves, None, end) == 0

    assert found.steps == sought.steps and found.validations == sought.validations
    assert found.weights == sought.weights
    assert len(sought.steps) == (12 if settings["max_epochs"] == 3 else 10)
