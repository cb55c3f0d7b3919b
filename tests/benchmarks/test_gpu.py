"""Every step of what is measured on a GPU, at sizes of a second and without one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import gpu
import pytest
from gpu import (
    LAST,
    SIZES,
    TITLE,
    Place,
    beside_generate,
    demonstration,
    measured,
    qlora_step,
    section,
    with_section,
)

RESULTS = f"# Measured\n\n## One step\n1\n\n{LAST}\n- much\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("cpu", "float32", tmp_path)


def test_a_step_over_4_bit_weights_is_written_with_its_parts_and_its_peak_beside_the_plan(place: Place) -> None:
    found = qlora_step(place, SIZES["tiny"].short)

    figures = re.fullmatch(
        r"[\d.]+ s \((.*)\); (\d+) tokens/s; L (\d+); peak ([\d.]+) GiB, planned ([\d.]+) GiB", found
    )
    assert figures
    assert [part.split()[0] for part in figures[1].split(", ")] == [
        *("generation", "other", "perturbed", "reference", "scoring", "update")
    ]
    assert int(figures[2]) > 0 and int(figures[3]) > 16 and float(figures[5]) > 0.5  # a CUDA context alone


def test_the_demonstration_runs_where_it_is_told_to(place: Place) -> None:
    assert re.fullmatch(r"1 updates in \d+ s", demonstration(place, SIZES["tiny"]))


def test_sampling_is_measured_beside_generate(place: Place) -> None:
    found = beside_generate(place, SIZES["tiny"].beside)

    part = r"\d+\.\d\d s, \d+\.\d\d s: \d+\.\d\d"
    assert re.fullmatch(rf"images to completions {part}, features to completions {part}", found)


def test_what_fails_is_written_down_and_the_rest_still_runs(place: Place) -> None:
    def broken(_: Place) -> str:
        raise RuntimeError("no room\nat all")

    found = measured(place, {"large": broken, "small": lambda _: "2 s"})

    assert found == {"large": "failed: RuntimeError: no room at all", "small": "2 s"}
    assert section(found, place).endswith("| large | failed: RuntimeError: no room at all |\n| small | 2 s |")


def test_the_section_stands_ahead_of_the_last_and_a_second_run_replaces_it() -> None:
    once = with_section(RESULTS, "first")

    assert once == f"# Measured\n\n## One step\n1\n\n{TITLE}\nfirst\n\n{LAST}\n- much\n"
    assert with_section(once, "second") == once.replace("first", "second")


def test_without_a_gpu_the_command_says_how_to_try_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)

    with pytest.raises(SystemExit):
        gpu.main()

    assert "--device cpu --sizes tiny" in capsys.readouterr().err
