"""`vlcal doctor`: what it says of a run, and that what it advises helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from tests.configs.conftest import CONFIGS
from tests.configs.questions import png, write_questions
from vlcal.cli import main
from vlcal.commands.doctor import sampled_here

Doctor = Callable[..., tuple[int, str]]
CONFIG = CONFIGS / "qwen3vl" / "2b_8gb.yaml"
TRAIN = "--data.init_args.train.init_args.path"
BUDGET = "--model.init_args.update.init_args.token_budget"
LARGEST = "--data.init_args.image_size.init_args.max_pixels"


@pytest.fixture
def doctor(small: Callable[[Path], list[str]], capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs the command on a shrunken model; its status and what it printed."""

    def run(*more: str, memory: str | None = "8") -> tuple[int, str]:
        asked = ["--memory", memory] if memory else []
        status, message = 0, ""
        try:
            main(["doctor", *small(CONFIG), *asked, *more])
        except SystemExit as end:
            status, message = (end.code, "") if isinstance(end.code, int) else (1, str(end.code))
        return status, capsys.readouterr().out + message

    return run


def test_a_run_that_fits_is_told_by_part_and_ends_well(doctor: Doctor) -> None:
    status, said = doctor()

    assert status == 0
    assert "6 prompts can be read, 0 batches cannot" in said  # of training and validation
    assert "nothing was found that must be changed" in said and "there is no GPU here" in said
    for part in ("language model", "weights that learn", "optimizer", "rollouts", "update", "at the peak"):
        assert part in said


def test_a_card_that_is_too_small_is_refused_with_the_phase_and_a_way_out(doctor: Doctor) -> None:
    status, said = doctor(memory="0.5")

    assert status == 1
    assert re.search(r"change +memory: [\d.]+ GiB of 0.5 in the phase of \w+", said)


def test_a_prompt_without_room_is_named_and_the_advised_size_makes_it_fit(doctor: Doctor, tmp_path: Path) -> None:
    large = write_questions(tmp_path / "large.parquet", [[png(64, 48)], [png(1400, 1000)]])
    given = (TRAIN, str(large), BUDGET, "584")

    status, said = doctor(*given)
    advised = re.search(r"`image_size` with max_pixels (\d+) would make it fit", said)

    assert status == 1 and advised
    assert re.findall(r"change +prompt (\S+):", said) == ["large.parquet:2"]
    assert doctor(*given, LARGEST, advised[1])[0] == 0


def test_a_row_that_cannot_be_read_is_named(doctor: Doctor, tmp_path: Path) -> None:
    broken = write_questions(tmp_path / "broken.parquet", [[png(64, 48)], [b"no picture"]])

    status, said = doctor(TRAIN, str(broken))

    assert status == 1
    assert "broken.parquet, row 2" in said


def test_without_a_gpu_the_card_must_be_named(doctor: Doctor) -> None:
    status, said = doctor(memory=None)

    assert status != 0 and "--memory" in said


def test_a_module_that_does_not_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a ReinforcementModule .*; got Linear"):
        sampled_here(nn.Linear(1, 1))
