"""Tables with columns of any name, files of vlcal itself, and folders, read into confidences and verdicts."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.evaluation.outputs.rows import SURE, UNSURE, read
from vlcal.evaluation.outputs import PatternStatement, Request, read_outputs, scale_of
from vlcal.scores import HarmonicMean


def test_two_columns_are_the_overall_confidence(tmp_path: Path) -> None:
    outputs = read(tmp_path, "a.jsonl", [{"confidence": 0.9, "correct": True}, {"confidence": None, "correct": 0}])

    assert list(outputs.confidence) == ["overall"]
    np.testing.assert_array_equal(outputs.confidence["overall"], [0.9, np.nan])
    np.testing.assert_array_equal(outputs.truth["overall"], [1, 0])
    assert len(set(outputs.question)) == 2
    assert outputs.dataset.tolist() == ["all", "all"]


def test_a_question_has_one_name_as_a_number_or_as_a_text(tmp_path: Path) -> None:
    rows = [{"confidence": 0.5, "correct": 1, "id": name} for name in (7, "7", 7.0, "7 ", 7.5)]

    assert read(tmp_path, "a.jsonl", rows).question.tolist() == ["7", "7", "7", "7", "7.5"]


def test_columns_of_any_name_are_read_when_named(tmp_path: Path) -> None:
    row = {"c": 70, "v": 80, "r": 60, "ok": "False", "saw": 1, "thought": 0, "q": "x", "set": "a"}

    named = {"confidence": "c", "visual": "v", "reasoning": "r", "correct": "ok", "perception_correct": "saw"}
    more = {"reasoning_correct": "thought", "question": "q", "dataset": "set", "scale": scale_of(100)}
    outputs = read(tmp_path, "a.jsonl", [row], **named, **more)

    assert {kind: values.tolist() for kind, values in outputs.confidence.items()} == {
        "overall": [0.7],
        "visual": [0.8],
        "reasoning": [0.6],
    }
    assert {kind: values.tolist() for kind, values in outputs.truth.items()} == {
        "overall": [0],
        "visual": [1],
        "reasoning": [0],
    }
    assert (outputs.question.tolist(), outputs.dataset.tolist()) == (["x"], ["a"])


def test_visual_confidence_is_held_against_the_answer_where_what_was_read_is_unknown(tmp_path: Path) -> None:
    rows = [{"visual": 0.5, "reasoning": 0.5, "correct": 1, "perception_correct": None, "reasoning_correct": 0}]

    outputs = read(tmp_path, "a.jsonl", rows)

    assert outputs.held_against == {"overall": "correct", "visual": "correct", "reasoning": "reasoning_correct"}
    assert outputs.confidence["overall"].tolist() == [0.5]


def test_long_questions_stay_different_and_equal_ones_are_one(tmp_path: Path) -> None:
    long = "x" * 500
    rows = [{"question": text, "confidence": 0.5, "correct": 1} for text in (long + "a", long + "b", long + "a")]

    names = read(tmp_path, "a.jsonl", rows).question.tolist()

    assert names[0] == names[2] != names[1]


def test_a_prediction_file_of_vlcal_is_read_with_both_truths_and_the_visual_certainty(tmp_path: Path) -> None:
    row = {
        "id": "a",
        "question_id": None,
        "dataset": None,
        "response": SURE,
        "well_formed": True,
        "correct": 0.0,
        "overall": 1.0,
        "visual": 1.0,
    }
    row |= {
        "reasoning": 1.0,
        "perception_correct": 1.0,
        "reasoning_correct": 0.0,
        "certainty": 0.6,
        "certainty_score": -3.5,
    }

    outputs = read(tmp_path, "a.jsonl", [row, row])

    assert outputs.held_against == {
        "overall": "correct",
        "visual": "perception_correct",
        "reasoning": "reasoning_correct",
    }
    assert outputs.confidence["visual"].tolist() == [1.0, 1.0]
    assert (outputs.question.tolist(), outputs.dataset.tolist()) == (["a", "a"], ["all", "all"])
    named = read(tmp_path, "a.jsonl", [row | {"question_id": "q", "dataset": "d"}])
    assert (named.question.tolist(), named.dataset.tolist()) == (["q"], ["d"])
    assert outputs.certainty is not None and outputs.certainty.tolist() == [-3.5, -3.5]
    with pytest.raises(ValueError, match="`scale` must be 1 for .*a.jsonl, since vlcal wrote it"):
        read(tmp_path, "a.jsonl", [row], scale=scale_of(10))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"read_right": 1, "reasoned_right": 0}, (1, 0)),
        ({"read_right": 1, "perception_correct": 0, "reasoned_right": 1, "reasoning_correct": 0}, (0, 0)),
        ({"read_right": 1, "perception_correct": None, "reasoning_correct": 0}, (1, 0)),
    ],
)
def test_the_older_names_of_both_truths_are_read_and_the_new_ones_win_where_they_are_filled(
    tmp_path: Path, columns: dict[str, Any], expected: tuple[int, int]
) -> None:
    outputs = read(tmp_path, "a.jsonl", [{"visual": 0.5, "reasoning": 0.5, "correct": 1} | columns])

    assert (outputs.truth["visual"].tolist(), outputs.truth["reasoning"].tolist()) == ([expected[0]], [expected[1]])
    assert outputs.held_against["visual"] == "perception_correct"


def test_the_overall_confidence_is_the_harmonic_mean_that_training_takes(tmp_path: Path) -> None:
    pairs = [(0.9, 0.3), (0.0, 0.0), (0.0, 0.7), (1.0, 1.0), (None, 0.4)]
    rows = [{"visual": visual, "reasoning": reasoning, "correct": 1} for visual, reasoning in pairs]

    outputs = read(tmp_path, "a.jsonl", rows)

    visual, reasoning = (torch.from_numpy(outputs.confidence[kind]) for kind in ("visual", "reasoning"))
    np.testing.assert_allclose(outputs.confidence["overall"], HarmonicMean()(visual, reasoning).numpy())


def test_texts_in_a_column_of_any_name_state_the_confidences_when_it_is_named(tmp_path: Path) -> None:
    rows = [{"said": text, "response": "", "confidence": 0.5, "correct": 1} for text in (SURE, [UNSURE])]

    outputs = read(tmp_path, "a.jsonl", rows, response="said")

    assert outputs.confidence["visual"].tolist() == [0.9, 0.2]
    with pytest.raises(ValueError, match="column `gone` is not there; it has said, response"):
        read(tmp_path, "a.jsonl", rows, response="gone")
    with pytest.raises(ValueError, match="row 1, column `said`: a text is asked for; got \\['a', 'b'\\]"):
        read(tmp_path, "a.jsonl", [{"said": ["a", "b"], "correct": 1}], response="said")
    with pytest.raises(ValueError, match="`response` names texts .* and `c` a column.*Name one or the other"):
        Request(confidence="c", response="said")


def test_numbers_in_lists_of_one_are_numbers(tmp_path: Path) -> None:
    outputs = read(tmp_path, "a.jsonl", [{"confidence": [0.5], "correct": [True]}])

    assert (outputs.confidence["overall"].tolist(), outputs.truth["overall"].tolist()) == ([0.5], [1])
    with pytest.raises(ValueError, match=r"row 1, column `confidence`: .*got \[0.5, 0.7\]"):
        read(tmp_path, "a.jsonl", [{"confidence": [0.5, 0.7], "correct": 1}])


def test_a_folder_is_one_run_with_each_file_a_data_set_and_what_holds_no_outputs_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, stated in (("two", 0.2), ("one", 0.7)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": "a", "confidence": stated, "correct": 1}))
    (tmp_path / "results.json").write_text('{"model": "m", "acc": 0.5}')
    (tmp_path / "settings.yaml").write_text("a, b: {")

    with caplog.at_level(logging.WARNING):
        outputs = read_outputs(tmp_path)

    assert outputs.path == tmp_path
    assert (outputs.dataset.tolist(), outputs.question.tolist()) == (["one", "two"], ["a", "a"])
    assert outputs.confidence["overall"].tolist() == [0.7, 0.2]
    assert [record.message.split(":")[0] for record in caplog.records] == ["Left out"]
    assert "results.json: a column `confidence` is asked for; it has model, acc" in caplog.text


def test_a_folder_that_cannot_be_one_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path} holds no file with outputs, none with a name in .csv"):
        read_outputs(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no file with outputs; .*results.json"):
        read_outputs(tmp_path)

    (tmp_path / "a.csv").write_text("confidence,correct,dataset\n0.5,1,x\n")
    (tmp_path / "b.csv").write_text("confidence,correct,dataset\n0.5,1,x\n")
    with pytest.raises(ValueError, match="two files hold the data set `x`"):
        read_outputs(tmp_path)
    (tmp_path / "b.csv").write_text("visual,correct,dataset\n0.5,1,y\n")
    with pytest.raises(ValueError, match="a.csv has overall against correct, but b.csv has visual against correct"):
        read_outputs(tmp_path)
    (tmp_path / "b.csv").write_text("confidence,correct,dataset\n0.5,maybe,y\n")
    with pytest.raises(ValueError, match="b.csv, row 1, column `correct`: a verdict must be"):
        read_outputs(tmp_path)


def test_reading_a_file_loads_no_library_that_it_does_not_need(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"response": SURE, "correct": 1}))
    heavy = ["torch", "transformers", "datasets", "pyarrow", "openpyxl", "lightning"]
    code = f"""
import sys
from pathlib import Path
from vlcal.evaluation.outputs import read_outputs
assert list(read_outputs(Path({str(path)!r})).confidence) == ["overall", "visual", "reasoning"]
assert not sys.modules.keys() & set({heavy}), sys.modules.keys() & set({heavy})
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_pattern_finds_the_last_number_and_takes_the_scale(tmp_path: Path) -> None:
    texts = ["Confidence: 20%. No, wait. Confidence: 90%", "I do not know"]
    rows = [{"response": text, "correct": 1} for text in texts]
    pattern = r"Confidence: (?P<confidence>\d+)%"

    outputs = read(tmp_path, "a.jsonl", rows, statement=PatternStatement(pattern, scale_of(100)))

    np.testing.assert_array_equal(outputs.confidence["overall"], [0.9, np.nan])
    with pytest.raises(ValueError, match="90 is above 1, and no scale is declared"):
        read(tmp_path, "a.jsonl", rows, statement=PatternStatement(pattern))


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "must be a regular expression"), (r"(\d+)", "must name its groups `confidence`")]
)
def test_a_pattern_that_cannot_find_anything_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"`pattern` {message}"):
        PatternStatement(pattern)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"confidence": "sure", "correct": 1}, "row 2, column `confidence`: a confidence must be a finite number"),
        ({"confidence": True, "correct": 1}, "row 2, column `confidence`: a confidence must be a finite number"),
        ({"confidence": 1e400, "correct": 1}, "row 2, column `confidence`: a confidence must be a finite number"),
        ({"confidence": 0.5, "correct": "maybe"}, "row 2, column `correct`: a verdict must be a number in"),
        ({"confidence": 0.5, "correct": 2}, "row 2, column `correct`: a verdict must be a number in"),
        ({"confidence": 0.5, "correct": 1, "dataset": ""}, "row 2, column `dataset`: a name must not be empty"),
        ({"confidence": 0.5, "correct": 1, "dataset": math.nan}, "row 2, column `dataset`: a name must not be empty"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_column(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    good = {"confidence": 0.5, "correct": 1, "dataset": "a"}

    with pytest.raises(ValueError, match=f"a.jsonl, {message}"):
        read(tmp_path, "a.jsonl", [good, row])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"p": 0.5, "correct": 1}, "a column `confidence` is asked for; it has p, correct"),
        ({"confidence": 0.5, "right": 1}, "a column `correct` is asked for; it has confidence, right"),
        ({"response": "no idea", "correct": 1}, "no response in `response` states a confidence"),
    ],
)
def test_a_table_without_what_is_needed_is_refused_with_the_way_out(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"{message}.*--c"):
        read(tmp_path, "a.jsonl", [row])
