"""The tables of a report hold the figures that the responses have."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlcal.evaluation.report import load_runs
from vlcal.evaluation.report.baselines import CERTAINTY, STATED, readouts
from vlcal.evaluation.report.content import Cell, Table
from vlcal.evaluation.report.failures import plane_section
from vlcal.evaluation.report.findings import gather, judge
from vlcal.evaluation.report.markdown import markdown_table
from vlcal.evaluation.report.probes import probe_section
from vlcal.evaluation.report.summary import summary_section
from vlcal.evaluation.report.wording import difference_cell, estimate_cell, number
from vlcal.evaluation.table import Estimate, metric_estimates, metric_table

Make = Callable[..., Any]


def texts(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_each_confidence_is_held_against_its_own_truth(write: Make, row: Make) -> None:
    rows = [row(0, visual=1.0, read_right=0.0), row(1, visual=0.0, read_right=0.0)]
    kinds = {found.kind.name: found for found in gather(load_runs([write("val.jsonl", rows)]), draws=0)}
    assert kinds["visual"].findings[0].table.estimates["accuracy"].value == 0.0
    assert kinds["overall"].findings[0].table.estimates["accuracy"].value == 1.0
    assert not any(found.borrowed for found in kinds.values())


def test_a_truth_that_one_run_does_not_know_is_borrowed_from_the_answer_for_all(write: Make, row: Make) -> None:
    known = write("known.jsonl", [row(0, read_right=0.0)])
    unknown = write("unknown.jsonl", [row(0, read_right=None)])
    kinds = {found.kind.name: found for found in gather(load_runs([known, unknown]), draws=0)}
    assert [each.table.estimates["accuracy"].value for each in kinds["visual"].findings] == [1.0, 1.0]
    assert "since nobody knows whether the image was read right" in kinds["visual"].held_against
    assert not kinds["overall"].borrowed and not kinds["reasoning"].borrowed


def test_a_kind_that_nobody_states_is_left_out(write: Make, row: Make) -> None:
    path = write("val.jsonl", [row(0, visual=None), row(1, visual=None)])
    assert [found.kind.name for found in gather(load_runs([path]), draws=0)] == ["overall", "reasoning"]


def test_a_difference_is_from_the_first_run_on_shared_questions(write: Make, row: Make) -> None:
    before = write("before.jsonl", [row(0, correct=0.0), row(1, correct=0.0), row(2)])
    after = write("after.jsonl", [row(1), row(2), row(3, correct=0.0)])
    found = gather(load_runs([before, after]), draws=0)[0]
    assert found.findings[0].difference is None
    assert found.findings[1].shared == 2
    assert found.findings[1].difference is not None
    assert found.findings[1].difference["accuracy"].value == 0.5  # 2 of 2 now, 1 of 2 then


def test_runs_without_a_shared_question_are_reported_without_a_difference(write: Make, row: Make) -> None:
    runs = load_runs([write("one.jsonl", [row(0)]), write("two.jsonl", [row(1)])])
    kinds = gather(runs, draws=0)
    assert [each.difference for each in kinds[0].findings] == [None, None]
    assert summary_section(runs, kinds, 0).tables[1].head == ("metric", "one", "two")


def test_the_summary_counts_what_was_not_parsed(write: Make, mixed: Make) -> None:
    runs = load_runs([write("val.jsonl", mixed())])
    section = summary_section(runs, gather(runs, draws=0), 0)
    assert section.tables[0].head[3:] == ("malformed", "cut at the length limit", "without a confidence")
    assert texts(section.tables[0]) == {"val": ["8", "8", "1", "0", "1"]}
    assert texts(section.tables[1])["accuracy"] == ["0.625"]  # 5 of 8


def test_data_sets_have_their_own_table_with_the_mean_over_them(write: Make, row: Make) -> None:
    rows = [row(number, dataset="charts" if number else "maps", correct=float(number > 1)) for number in range(3)]
    runs = load_runs([write("val.jsonl", rows)])
    table = summary_section(runs, gather(runs, draws=0), 0).folded[0]
    assert [row[:3] for row in table.rows] == [
        (Cell("charts"), Cell("2"), Cell("0.500")),
        (Cell("maps"), Cell("1"), Cell("0.000")),
        (Cell("mean over data sets"), Cell("3"), Cell("0.250")),
    ]


def test_failures_are_parted_by_cause_and_by_what_was_doubted(write: Make, row: Make) -> None:
    rows = [
        row(0),
        row(1, correct=0.0, read_right=0.0, visual=0.2),
        row(2, correct=0.0, reasoned_right=0.0, reasoning=0.3),
        row(3, correct=0.0, read_right=0.0, reasoned_right=0.0, visual=0.4, reasoning=0.4),
    ]
    section = plane_section(load_runs([write("val.jsonl", rows)]))
    assert section is not None and len(section.figures) == 2
    found = texts(section.tables[0])
    assert found["a right answer"] == ["1", "0.900", "0.900", "0.810", "0.000", "0.000", "1.000"]
    assert found["wrong: misread only"] == ["1", "0.200", "0.900", "0.810", "1.000", "0.000", "0.000"]
    assert found["wrong: reasoned wrong only"] == ["1", "0.900", "0.300", "0.810", "0.000", "1.000", "0.000"]
    assert found["wrong: both"][4:] == ["0.000", "0.000", "1.000"]
    pairs = texts(section.figures[0].numbers)
    assert pairs == {"0.2, 0.9": ["0", "1"], "0.4, 0.4": ["0", "1"], "0.9, 0.3": ["0", "1"], "0.9, 0.9": ["1", "0"]}


def test_without_both_confidences_there_is_no_plane(write: Make, row: Make) -> None:
    assert plane_section(load_runs([write("val.jsonl", [row(visual=None)])])) is None


def test_readouts_stand_beside_the_stated_confidence(write: Make, mixed: Make) -> None:
    path = write("val.jsonl", mixed())
    other = [{"id": f"q{number}", "p_true_overall": 0.5, "p_true_visual": 3.0} for number in range(8)]
    write("val.readouts.jsonl", other)
    (run,) = load_runs([path])
    names = dict(readouts(run, "overall", judge(run, "overall", "correct")))
    assert next(iter(names)) == STATED and list(names)[-1] == CERTAINTY
    assert {"temperature", "isotonic", "with visual certainty", "read out: p true"} <= names.keys()
    assert np.isnan(names["isotonic"].confidence).tolist() == [False] * 7 + [True]  # absent stays absent
    # What lies outside [0, 1] is no confidence.
    assert "read out: p true" not in dict(readouts(run, "visual", judge(run, "visual", "read_right")))


def test_some_metrics_are_those_of_the_whole_table(write: Make, mixed: Make) -> None:
    (run,) = load_runs([write("val.jsonl", mixed())])
    judged = judge(run, "overall", "correct")
    some, table = metric_estimates(judged, ("auroc", "brier"), 50, seed=1), metric_table(judged, 50, seed=1)
    for name, estimate in some.items():
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (table.estimates[name].value, table.estimates[name].low, table.estimates[name].high)
        )


def test_corruption_is_drawn_and_every_other_probe_is_a_table(write: Make, row: Make, tmp_path: Path) -> None:
    path = write("val.jsonl", [row()])
    curve = {"severity": [0.0, 1.0], "accuracy": [0.9, 0.2], "overall": [0.8, None], "own": [1, 2], "responses": 5}
    probes = {"corruption": curve, "swap": {"distance": {"visual": 0.25}, "n": 3}, "novel": [1, 2]}
    (tmp_path / "val.probes.json").write_text(json.dumps(probes))
    section = probe_section(load_runs([path]))
    assert section is not None
    assert section.figures[0].numbers.head == ("severity", "accuracy", "overall", "own")
    assert texts(section.figures[0].numbers) == {"0": ["0.900", "0.800", "1"], "1": ["0.200", "–", "2"]}
    assert [table.caption for table in section.tables] == ["val: corruption", "val: swap", "val: novel"]
    assert texts(section.tables[0]) == {"responses": ["5"]}
    assert section.tables[1].head == ("", "value", "visual")
    assert texts(section.tables[1]) == {"distance": ["", "0.250"], "n": ["3", ""]}
    assert section.tables[2].rows == ((Cell("[1, 2]"),),)


def test_a_corruption_curve_of_another_length_is_refused(write: Make, row: Make, tmp_path: Path) -> None:
    path = write("val.jsonl", [row()])
    (tmp_path / "val.probes.json").write_text('{"corruption": {"severity": [0, 1], "accuracy": [1]}}')
    with pytest.raises(ValueError, match="`accuracy` of the corruption probe must hold one .* severity, 2; got 1"):
        probe_section(load_runs([path]))


def test_a_difference_is_called_better_only_where_its_interval_leaves_out_zero() -> None:
    sure, unsure = Estimate(-0.2, -0.3, -0.1), Estimate(-0.2, -0.5, 0.1)
    assert difference_cell(sure, "brier") == Cell("−0.200", "−0.300 to −0.100, better", strong=True)
    assert difference_cell(sure, "auroc").note.endswith("worse")
    assert difference_cell(sure, "mean_confidence") == Cell("−0.200", "−0.300 to −0.100", strong=True)
    assert difference_cell(unsure, "brier") == Cell("−0.200", "−0.500 to +0.100")


def test_counts_have_no_decimals_and_nothing_is_a_dash() -> None:
    assert estimate_cell(Estimate(11.0, 10.0, 11.0), "distinct_values") == Cell("11", "10 to 11")
    assert estimate_cell(Estimate(math.nan), "auroc") == Cell("–")
    assert number(-0.0001, signed=True) == "0.000"


def test_markdown_takes_nothing_for_markup() -> None:
    table = Table("a|b", ("run", "*x*"), ((Cell("<b>"), Cell("1", "2 to 3", strong=True)),))
    assert markdown_table(table).splitlines()[1:] == [
        "### a\\|b",
        "",
        "| run | \\*x\\* |",
        "| --- | ---: |",
        "| \\<b\\> | **1** (2 to 3) |",
    ]


def test_a_table_with_a_short_row_is_refused() -> None:
    with pytest.raises(ValueError, match="`rows` must hold 2 cells like the head; got 1"):
        Table("t", ("a", "b"), ((Cell("1"),),))
