"""What is measured, on things whose measure is known."""

from __future__ import annotations

import sys

import clock
import pytest
import torch
from clock import Clock, PeakMemory
from step_vs_trl import summary
from trl_step import INSTALL, require_trl


def test_time_within_a_part_within_a_part_counts_for_the_inner_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter([0.0, 2.0, 5.0, 11.0])  # outer begins, inner begins, inner ends, outer ends
    monkeypatch.setitem(clock.TIMES, "given", lambda: next(instants))
    watch = Clock("cpu", "given")
    with watch.part("outer"):
        watch.around(lambda: None, lambda: "inner")()
    assert watch.read() == {"outer": 8.0, "inner": 3.0}
    assert watch.read() == {}


def test_the_peak_is_seen_after_what_made_it_was_given_back() -> None:
    mebibyte = 1 << 20
    memory = PeakMemory("cpu")
    torch.ones(64 * mebibyte // 4).sum()
    assert 60 * mebibyte < memory.growth() < 90 * mebibyte


def test_ratios_are_medians_over_turns() -> None:
    trl = [{"reference": 2.0, "update": 7.0, "generation": 1.0}] * 3
    vlcal = [
        {"scoring": 1.0, "reference": 1.0, "update": update, "perturbed": 0.5, "generation": 0.5, "other": 0.0}
        for update in (1.0, 2.0, 100.0)
    ]
    found = {
        "seconds": {"trl": trl, "vlcal": vlcal},
        "images_through_tower": {"trl": 24.0, "vlcal": 2.0},
        "gradient_relative_difference": 1e-6,
    }
    figures = summary(found, {"trl": 400, "vlcal": 100})
    assert figures == {
        "learner_ratio": 9 / 4,
        "learner_ratio_without_scoring": 3.0,
        "step_ratio": 2.0,
        "memory_ratio": 0.25,
        "perturbed_share": 0.1,
        "vision_calls_per_image": 2.0,
        "gradient_relative_difference": 1e-6,
    }


def test_without_trl_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(SystemExit, match=INSTALL):
        require_trl()
