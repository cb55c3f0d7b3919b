"""Files are scored alike whatever is written of them, and compared only where that means something."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlcal.commands.report import report
from vlcal.commands.score import score
from vlcal.evaluation.outputs import read_outputs
from vlcal.evaluation.report.scored import Bootstrap, Comparison, compare, short_names
from vlcal.evaluation.report.tables import kind_table

Make = Callable[..., Any]
NO_DRAWS = Bootstrap(draws=0)


def compared(*paths: Path) -> Comparison:
    return compare([read_outputs(path) for path in paths], NO_DRAWS)


def test_each_confidence_is_held_against_its_own_truth(write: Make, row: Make) -> None:
    rows = [row(0, visual=1.0, perception_correct=0.0), row(1, visual=0.0, perception_correct=0.0)]

    kinds = compared(write("val.jsonl", rows)).files[0].kinds

    assert {kind: scored.truth for kind, scored in kinds.items()} == {
        "overall": "correct",
        "visual": "perception_correct",
        "reasoning": "reasoning_correct",
    }
    assert kinds["visual"].table.estimates["accuracy"].value == 0.0
    assert kinds["overall"].table.estimates["accuracy"].value == 1.0


def test_a_difference_is_from_the_first_file_on_shared_questions(write: Make, row: Make) -> None:
    before = write("before.jsonl", [row(0, correct=0.0), row(1, correct=0.0), row(2)])
    after = write("after.jsonl", [row(1), row(2), row(3, correct=0.0)])

    (differences,) = compared(before, after).differences

    assert differences["overall"].estimates["accuracy"].value == 0.5  # 2 of 2 now, 1 of 2 then
    assert differences["overall"].note == "difference on the 2 questions that it shares with before"


def test_files_that_share_no_question_have_no_difference(write: Make, row: Make) -> None:
    (differences,) = compared(write("one.jsonl", [row(0)]), write("two.jsonl", [row(1)])).differences

    assert not differences["overall"].estimates
    assert differences["overall"].note == "no paired difference, since it shares no question with one"


def test_figures_against_different_truths_are_never_subtracted(write: Make, row: Make) -> None:
    known = write("known.jsonl", [row(0, perception_correct=0.0), row(1)])
    unknown = write("unknown.jsonl", [row(number, perception_correct=None) for number in range(2)])

    comparison = compared(known, unknown)

    assert [file.kinds["visual"].truth for file in comparison.files] == ["perception_correct", "correct"]
    # What is beside a file does not change its numbers.
    alone = compared(known).files[0].kinds["visual"].table.estimates["accuracy"].value
    assert comparison.files[0].kinds["visual"].table.estimates["accuracy"].value == alone == 0.5
    assert not comparison.differences[0]["visual"].estimates
    assert "held against correct, that of known against perception_correct" in comparison.differences[0]["visual"].note
    assert comparison.differences[0]["overall"].estimates


def test_a_kind_that_no_response_states_is_shown_only_where_none_is_stated(write: Make, row: Make) -> None:
    silent = write("silent.jsonl", [row(number, visual=None, reasoning=None, overall=None) for number in range(2)])

    assert compared(write("val.jsonl", [row(0, visual=None), row(1, visual=None)])).kinds == ["overall", "reasoning"]
    assert compared(silent).kinds == ["overall", "visual", "reasoning"]


def test_shares_of_other_ranks_are_scored_too(write: Make, row: Make) -> None:
    path = write("val.jsonl", [row(0)])
    write("val.1.jsonl", [row(1, correct=0.0)])

    assert compared(path).files[0].kinds["overall"].table.estimates["accuracy"].value == 0.5
    (path.parent / "val.1.jsonl").write_text(json.dumps(row(1, overall=9)) + "\n")
    with pytest.raises(ValueError, match=r"val.jsonl, row 1 of val.1.jsonl, column `overall`: .*got 9"):
        compared(path)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a.jsonl"], ["a"]),
        (["x/a.jsonl", "x/b.csv"], ["a", "b"]),
        (["x/a.jsonl", "y/a.jsonl"], ["x/a", "y/a"]),
        (["x/a.jsonl", "x/a.csv"], ["a.jsonl", "a.csv"]),
    ],
)
def test_names_are_as_short_as_keeps_them_different(paths: list[str], names: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == names


@pytest.fixture
def two_files(write: Make, row: Make) -> list[Path]:
    """Two files of 60 responses to 40 questions of two data sets whose names begin alike; some state nothing."""
    paths = []
    for number, name in enumerate(("before", "after")):
        rng = np.random.default_rng(number)
        rows = []
        for place in range(60):
            stated = {kind: float(rng.integers(11)) / 10 for kind in ("overall", "visual", "reasoning")}
            truths = {
                truth: float(rng.random() < 0.6) for truth in ("correct", "perception_correct", "reasoning_correct")
            }
            absent = dict.fromkeys(stated) if place % 11 == 0 else {}
            dataset = "mathverse" if place % 3 else "mathverse-vision-only"
            about = {"question_id": place % 40, "dataset": dataset, "certainty_score": float(rng.normal())}
            rows.append(row(place, **stated | truths | absent | about))
        paths.append(write(f"{name}.jsonl", rows))
    return paths


def test_score_and_report_give_the_same_numbers(two_files: list[Path], tmp_path: Path) -> None:
    # Another seed than the default, which the report must pass on to draws and folds alike.
    score(two_files, format="json", draws=20, seed=3, output=tmp_path / "score.json")
    report(two_files, tmp_path / "out", draws=20, seed=3)

    said = json.loads((tmp_path / "score.json").read_text())
    lines = list(csv.DictReader((tmp_path / "out" / "report.csv").read_text().splitlines()))
    numbers = 0
    for line in lines:
        run = said["runs"][("before", "after").index(line["run"])]
        if line["readout"] == "certainty":  # of the report alone
            continue
        if line["readout"] != "stated":
            found = run["posthoc"][line["kind"]][line["readout"]]
        elif line["dataset"] == "(mean over data sets)":
            found = run["macro"][line["kind"]]
        elif line["dataset"] == "(all)":
            found = run[line["kind"]]
        else:
            found = run["datasets"][line["dataset"]][line["kind"]]
        for name, expected in found[line["metric"]].items():
            assert line[name] == ("" if expected is None else f"{expected:.6g}"), line
            numbers += 1
        if line["difference"]:
            expected = said["differences"][0][line["kind"]][line["metric"]]["value"]
            assert line["difference"] == f"{expected:.6g}"
        assert line["truth"] == run["held_against"][line["kind"]]
    # Two files, three kinds: all metrics as stated, per data set and on average, and six of six baselines.
    assert numbers == 2 * 3 * ((1 + 2 + 1) * 25 + 6 * 6) * 3


def test_the_ceiling_stands_beside_the_stated_confidence(write: Make, row: Make) -> None:
    outputs = read_outputs(write("after", [row(n, correct=float(n % 2), overall=0.5) for n in range(4)]))
    ceiling = {"overall": {"readout_ceiling": np.array([0.1, 0.9, 0.2, 0.8])}}

    table = kind_table(compare([outputs], NO_DRAWS, [ceiling]), "overall", ["auroc", "mce"])

    assert table.head == ("metric", "after", "ceiling of after")
    assert [[cell.text for cell in cells] for cells in table.rows] == [
        ["AUROC", "0.500", "1.000"],
        ["MCE", "0.000", "–"],
    ]
