"""The tables of a report hold the figures that the responses have."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vlcal.evaluation.metrics.table import Contrast, Estimate, metric_estimates, metric_table
from vlcal.evaluation.report.content import Cell, Section, Table, difference_cell, estimate_cell, number
from vlcal.evaluation.report.plane import plane_section
from vlcal.evaluation.report.renderings import markdown_table
from vlcal.evaluation.report.runs import Run, load_runs
from vlcal.evaluation.report.scored import Bootstrap, compare
from vlcal.evaluation.report.sections import probe_section, summary_section

Make = Callable[..., Any]


def texts(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def summary(runs: Sequence[Run]) -> Section:
    readouts = [run.readouts for run in runs]
    return summary_section(compare([run.outputs for run in runs], Bootstrap(draws=0), readouts), runs)


def test_runs_without_a_shared_question_are_reported_without_a_difference(write: Make, row: Make) -> None:
    table = summary(load_runs([write("one.jsonl", [row(0)]), write("two.jsonl", [row(1)])])).tables[1]
    assert table.head == ("metric", "one", "two")
    assert "two: no paired difference, since it shares no question with one" in table.notes


def test_a_table_names_the_truths_that_its_columns_are_held_against(write: Make, row: Make) -> None:
    runs = load_runs([write("one.jsonl", [row(0)]), write("two.jsonl", [row(0, perception_correct=None)])])
    table = summary(runs).tables[2]
    assert table.caption == (
        "Visual confidence, held against perception_correct (whether the image was read correctly) or correct (whether "
        "the answer is right)"
    )
    assert table.head == ("metric", "one", "two")
    assert any("two: no paired difference, since its visual confidence" in note for note in table.notes)


def test_the_summary_counts_what_was_not_parsed(write: Make, mixed: Make) -> None:
    runs = load_runs([write("val.jsonl", mixed())])
    section = summary(runs)
    assert section.tables[0].head[3:] == ("malformed", "cut at the length limit", "without a confidence")
    assert texts(section.tables[0]) == {"val": ["8", "8", "1", "0", "1"]}
    assert texts(section.tables[1])["accuracy, wrong where no confidence is stated"] == ["0.625"]  # 5 of 8


def test_data_sets_have_their_own_table_with_the_mean_over_them(write: Make, row: Make) -> None:
    rows = [row(number, dataset="charts" if number else "maps", correct=float(number > 1)) for number in range(3)]
    runs = load_runs([write("val.jsonl", rows)])
    table = summary(runs).folded[0]
    assert [row[:3] for row in table.rows] == [
        (Cell("charts"), Cell("2"), Cell("0.500")),
        (Cell("maps"), Cell("1"), Cell("0.000")),
        (Cell("mean over data sets"), Cell("3"), Cell("0.250")),
    ]


def test_wrong_answers_are_counted_by_cause_and_by_the_lower_confidence(write: Make, row: Make) -> None:
    rows = [
        row(0),
        row(1, correct=0.0, perception_correct=0.0, visual=0.2),
        row(2, correct=0.0, reasoning_correct=0.0, reasoning=0.3),
        row(3, correct=0.0, perception_correct=0.0, reasoning_correct=0.0, visual=0.4, reasoning=0.4),
    ]
    section = plane_section(load_runs([write("val.jsonl", rows)]))
    assert section is not None and len(section.figures) == 2
    found = texts(section.tables[0])
    assert found["a right answer"] == ["1", "0.900", "0.900", "0.810", "0.000", "0.000", "1.000"]
    assert found["wrong: perception only"] == ["1", "0.200", "0.900", "0.810", "1.000", "0.000", "0.000"]
    assert found["wrong: reasoning only"] == ["1", "0.900", "0.300", "0.810", "0.000", "1.000", "0.000"]
    assert found["wrong: both"][4:] == ["0.000", "0.000", "1.000"]
    pairs = texts(section.figures[0].numbers)
    assert pairs == {"0.2, 0.9": ["0", "1"], "0.4, 0.4": ["0", "1"], "0.9, 0.3": ["0", "1"], "0.9, 0.9": ["1", "0"]}


def test_without_both_confidences_there_is_no_plane(write: Make, row: Make) -> None:
    assert plane_section(load_runs([write("val.jsonl", [row(visual=None)])])) is None


def test_readouts_stand_beside_the_stated_confidence(write: Make, mixed: Make) -> None:
    path = write("val.jsonl", mixed())
    columns = {"p_true_overall": 0.5, "p_true_visual": 3.0, "none_overall": None}
    other = [{"id": f"q{number}", **columns} for number in range(8)]
    write("val.readouts.jsonl", other)
    (run,) = load_runs([path])
    kinds = compare([run.outputs], Bootstrap(draws=0), [run.readouts]).files[0].kinds
    calibrators = ["temperature", "platt", "beta", "isotonic", "histogram", "with_certainty"]
    assert list(kinds["overall"].baselines) == [*calibrators, "readout_p_true", "certainty"]
    assert kinds["overall"].baselines["readout_p_true"]["brier"].value == 0.25
    # What lies outside [0, 1] is no confidence, and one without a value is not shown.
    assert list(kinds["visual"].baselines) == [*calibrators, "certainty"]


def test_some_metrics_are_those_of_the_whole_table(write: Make, mixed: Make) -> None:
    (run,) = load_runs([write("val.jsonl", mixed())])
    responses = run.outputs.judged("overall")
    some, table = metric_estimates(responses, ("auroc", "brier"), 50, seed=1), metric_table(responses, 50, seed=1)
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
    sure, unsure = Contrast(-0.2, -0.3, -0.1), Contrast(-0.2, -0.5, 0.1, detectable=0.42)
    assert difference_cell(sure, "brier") == Cell("−0.200", "−0.300 to −0.100, better", strong=True)
    assert difference_cell(sure, "auroc").note.endswith("worse")
    assert difference_cell(sure, "mean_confidence") == Cell("−0.200", "−0.300 to −0.100", strong=True)
    assert difference_cell(unsure, "brier") == Cell("−0.200", "−0.500 to +0.100; detectable 0.420")


def test_counts_have_no_decimals_and_nothing_is_a_dash() -> None:
    assert estimate_cell(Estimate(11.0, 10.0, 11.0), "distinct_values") == Cell("11", "10 to 11")
    assert estimate_cell(Estimate(math.nan), "auroc") == Cell("–")
    assert number(-0.0001, signed=True) == "0.000"


def test_markdown_takes_nothing_for_markup() -> None:
    table = Table("a|b", ("run", "*x*"), ((Cell("<b>"), Cell("1", "2 to 3", strong=True)),), notes=("_n_",))
    assert markdown_table(table, "###").splitlines() == [
        "### a\\|b",
        "",
        "| run | \\*x\\* |",
        "| --- | ---: |",
        "| \\<b\\> | **1** (2 to 3) |",
        "",
        "- \\_n\\_",
    ]


def test_a_table_with_a_short_row_is_refused() -> None:
    with pytest.raises(ValueError, match="`rows` must hold 2 cells like the head; got 1"):
        Table("t", ("a", "b"), ((Cell("1"),),))
