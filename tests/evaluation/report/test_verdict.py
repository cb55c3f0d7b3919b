"""The sentences at the top of a report say what its figures show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlcal.evaluation.report.runs import load_runs
from vlcal.evaluation.report.scored import Bootstrap, compare
from vlcal.evaluation.report.verdict import verdicts

Make = Callable[..., Any]

# Of 50 responses at each level as many are right as it says.
CALIBRATED = [(level, float(place < 50 * level)) for level in (0.2, 0.4, 0.6, 0.8) for place in range(50)]


def said(write: Make, row: Make, *confidences: tuple[float | None, ...], draws: int = 100) -> list[str]:
    """The verdicts on runs with these overall confidences in the responses of `CALIBRATED`."""
    outputs = []
    for run, stated in enumerate(confidences):
        rows = [
            row(n, overall=c, visual=None, reasoning=None, correct=right, certainty=None, certainty_score=None)
            for n, (c, (_, right)) in enumerate(zip(stated, CALIBRATED, strict=True))
        ]
        (one,) = load_runs([write(f"run{run}.jsonl", rows)])
        outputs.append(one.outputs)
    return list(verdicts(compare(outputs, Bootstrap(draws=draws), of_baselines=())))


def test_a_calibrated_run_that_improves_is_called_both(write: Make, row: Make) -> None:
    (sentence,) = said(write, row, (0.9,) * 200, tuple(level for level, _ in CALIBRATED))

    assert sentence.startswith("Overall confidence of run1: calibrated as far as 200 questions can show (ECE 0.000, ")
    assert "; better than run0 (Brier −0.210, −" in sentence  # .81 / 2 + .01 / 2 = .41 before, mean c (1 - c) = .2 now
    assert "collapsed" not in sentence


def test_a_collapse_to_one_value_and_miscalibration_are_named(write: Make, row: Make) -> None:
    (sentence,) = said(write, row, tuple(level for level, _ in CALIBRATED), (0.9,) * 200)

    assert "miscalibrated by 0.400 on average (ECE, 0." in sentence and "; worse than run0 (Brier +0.210" in sentence
    assert sentence.endswith("; collapsed to 1 distinct value, as varied as 1.0 equally frequent ones.")


def test_many_values_of_which_one_is_nearly_always_stated_are_a_collapse(write: Make, row: Make) -> None:
    (sentence,) = said(write, row, (0.5,) * 195 + (0.1, 0.2, 0.3, 0.4, 0.6), draws=0)

    assert "calibrated or not is not known" in sentence and "beside" not in sentence
    assert "; collapsed to 6 distinct values, as varied as 1." in sentence


def test_a_run_like_the_first_is_neither_better_nor_worse(write: Make, row: Make) -> None:
    stated = tuple(level for level, _ in CALIBRATED)

    (sentence,) = said(write, row, stated, stated)

    assert "; neither better nor worse than run0 (Brier 0.000, 0.000 to 0.000; detectable 0.000)" in sentence
