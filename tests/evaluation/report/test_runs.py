"""Prediction files are read back whole, in a stated order, and refused by file and row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlcal.errors import UserError
from vlcal.evaluation.report.runs import load_runs

Make = Callable[..., Any]


def test_in_a_folder_before_comes_first_and_the_others_by_age(write: Make, row: Make, tmp_path: Path) -> None:
    for age, name in enumerate(["late", "before-warm", "early"]):
        path = write(f"{name}.jsonl", [row()])
        os.utime(path, (100 - age, 100 - age))
    assert [run.name for run in load_runs([tmp_path])] == ["before-warm", "early", "late"]


def test_files_without_verdicts_or_confidences_are_passed_over(write: Make, row: Make, tmp_path: Path) -> None:
    write("val.jsonl", [row()])
    write("questions.jsonl", [{"question": "?", "answer": "7"}])
    write("val.readouts.jsonl", [{"id": "q0", "correct": 1.0, "ptrue_overall": 0.4}])
    (run,) = load_runs([tmp_path])
    assert run.name == "val"
    assert {name: values.tolist() for name, values in run.readouts["overall"].items()} == {
        "readout_ptrue": [0.4],
        "certainty": [0.6],
    }


def test_shares_of_several_ranks_are_one_run(write: Make, row: Make, tmp_path: Path) -> None:
    path = write("val.jsonl", [row(0)])
    for rank in (10, 2):
        write(f"val.{rank}.jsonl", [row(rank)])
    for runs in (load_runs([path]), load_runs([tmp_path])):
        assert [run.outputs.question.tolist() for run in runs] == [["q0", "q2", "q10"]]
        assert [row["id"] for row in runs[0].rows] == ["q0", "q2", "q10"]


def test_files_of_one_name_are_named_by_their_folders_too(write: Make, row: Make) -> None:
    paths = [write(f"{folder}/val.jsonl", [row()]) for folder in ("one", "two")]
    assert [run.name for run in load_runs(paths)] == ["one/val", "two/val"]
    with pytest.raises(ValueError, match="`files` must be different files"):
        load_runs([paths[0], paths[0]])


def test_old_files_without_images_tokens_or_data_sets_are_read(write: Make) -> None:
    path = write("val.jsonl", [{"correct": 1, "overall": 1}, {"correct": None, "overall": None}])
    (run,) = load_runs([path])
    assert run.outputs.question.tolist() == ["1", "2"]
    assert run.outputs.dataset.tolist() == ["all", "all"]
    assert np.isnan(run.column("overall")).tolist() == [False, True]
    assert list(run.outputs.confidence) == ["overall"]
    assert np.isnan(run.column("perception_correct")).all() and np.isnan(run.column("reward")).all()


def test_any_file_that_score_reads_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text("confidence,correct,reward\n0.9,true,high\n0.4,false,low\n")
    (run,) = load_runs([path])
    assert run.column("overall").tolist() == [0.9, 0.4]
    assert run.column("correct").tolist() == [1, 0]
    assert np.isnan(run.column("reward")).all()  # no measurement of ours


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "val.jsonl, row 2: not JSON"),
        ("[]", "val.jsonl, row 2: a JSON object is asked for; got list"),
        ('{"correct": 1, "overall": 9}', "val.jsonl, row 2, column `overall`: the scale goes from 0 to 1; got 9"),
        ('{"correct": "yes", "overall": 1}', "row 2, column `correct`: a verdict must be .* got 'yes'"),
    ],
)
def test_a_bad_row_is_refused_by_file_and_number(write: Make, row: Make, line: str, message: str) -> None:
    path = write("val.jsonl", [row()])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        load_runs([path])


def test_nothing_and_too_much_are_refused(write: Make, row: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none.jsonl is not there"):
        load_runs([tmp_path / "none.jsonl"])
    with pytest.raises(ValueError, match="holds none. PredictionWriter writes them"):
        load_runs([tmp_path])
    with pytest.raises(ValueError, match="empty.jsonl holds no"):
        load_runs([write("empty.jsonl", [])])
    paths = [write(f"{number}.jsonl", [row()]) for number in range(7)]
    with pytest.raises(ValueError, match="`runs` must be 1 to 6 prediction files.*got 7"):
        load_runs(paths)


def test_probes_lie_beside_the_file_and_must_be_an_object(write: Make, row: Make, tmp_path: Path) -> None:
    path = write("val.jsonl", [row()])
    beside = tmp_path / "val.probes.json"
    beside.write_text(json.dumps({"swap": {"n": 3}}))
    assert load_runs([path])[0].probes == {"swap": {"n": 3}}
    beside.write_text("[]")
    with pytest.raises(ValueError, match="val.probes.json must hold a JSON object"):
        load_runs([path])


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 5000, b"7" * 5000])
def test_probes_and_first_lines_that_are_no_json_are_refused_by_file(
    write: Make, row: Make, tmp_path: Path, content: bytes
) -> None:
    path = write("val.jsonl", [row()])
    (tmp_path / "val.probes.json").write_bytes(content)
    with pytest.raises(UserError, match=r"val\.probes\.json must be JSON: .* remove it to report without"):
        load_runs([path])
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"val\.jsonl, row 1: not JSON"):
        load_runs([tmp_path])


@pytest.mark.parametrize("column", ["overall", "correct"])
def test_a_number_of_hundreds_of_digits_is_refused_by_row(write: Make, row: Make, column: str) -> None:
    with pytest.raises(UserError, match=rf"row 1, column `{column}`: a \w+ must be a "):
        load_runs([write("val.jsonl", [row(**{column: 10**400})])])


def test_readouts_of_other_responses_are_refused(write: Make, row: Make) -> None:
    path = write("val.jsonl", [row(0), row(1)])
    write("val.readouts.jsonl", [{"id": "q1", "a_overall": 0.1}, {"id": "q0", "a_overall": 0.2}])
    with pytest.raises(ValueError, match="must hold the responses of val.jsonl in the same order"):
        load_runs([path])
