"""What each program writes, in its real schema, read into confidences and verdicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlcal.evaluation.outputs import Outputs, PatternStatement, Request, read_outputs, scale_of
from vlcal.text import Grammar

SURE = Grammar().render("a cat", "so a cat", "cat", "clear", 9, 8)
UNSURE = Grammar().render("a blur", "so a dog", "dog", "lost", 2, 5)


def read(folder: Path, name: str, rows: Sequence[dict[str, Any]], **request: Any) -> Outputs:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_outputs(path, Request(**request))


def samples(metrics: Sequence[dict[str, Any]], texts: Sequence[str] = (SURE, UNSURE)) -> list[dict[str, Any]]:
    """Lines of lmms-eval for a task that gives these metrics."""
    return [
        {
            "doc_id": number,
            "input": "<image> What is it?",
            "target": "cat",
            "resps": [text],
            "filtered_resps": "cat",
            "doc_hash": "9f",
            "token_counts": [{"output_tokens": 9}],
            **given,
        }
        for number, (text, given) in enumerate(zip(texts, metrics, strict=True))
    ]


def test_two_columns_are_the_overall_confidence(tmp_path: Path) -> None:
    outputs = read(tmp_path, "a.jsonl", [{"confidence": 0.9, "correct": True}, {"confidence": None, "correct": 0}])

    assert list(outputs.confidence) == ["overall"]
    np.testing.assert_array_equal(outputs.confidence["overall"], [0.9, np.nan])
    np.testing.assert_array_equal(outputs.truth["overall"], [1, 0])
    assert len(set(outputs.question)) == 2
    assert outputs.dataset.tolist() == ["all", "all"]


def test_columns_of_any_name_are_read_when_named(tmp_path: Path) -> None:
    row = {"c": 70, "v": 80, "r": 60, "ok": "False", "saw": 1, "thought": 0, "q": "x", "set": "a"}

    named = {"confidence": "c", "visual": "v", "reasoning": "r", "correct": "ok", "read_right": "saw"}
    more = {"reasoned_right": "thought", "question": "q", "dataset": "set", "scale": scale_of(100)}
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


def test_visual_confidence_is_held_against_the_answer_where_nobody_knows_what_was_read(tmp_path: Path) -> None:
    rows = [{"visual": 0.5, "reasoning": 0.5, "correct": 1, "read_right": None, "reasoned_right": 0}]

    outputs = read(tmp_path, "a.jsonl", rows)

    assert outputs.held_against == {"overall": "correct", "visual": "correct", "reasoning": "reasoned_right"}
    assert outputs.confidence["overall"].tolist() == [0.5]


def test_long_questions_are_told_apart_and_equal_ones_are_one(tmp_path: Path) -> None:
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
    row |= {"reasoning": 1.0, "read_right": 1.0, "reasoned_right": 0.0, "certainty": 0.6, "certainty_score": -3.5}

    outputs = read(tmp_path, "a.jsonl", [row, row])

    assert outputs.held_against == {"overall": "correct", "visual": "read_right", "reasoning": "reasoned_right"}
    assert outputs.confidence["visual"].tolist() == [1.0, 1.0]
    assert (outputs.question.tolist(), outputs.dataset.tolist()) == (["a", "a"], ["all", "all"])
    named = read(tmp_path, "a.jsonl", [row | {"question_id": "q", "dataset": "d"}])
    assert (named.question.tolist(), named.dataset.tolist()) == (["q"], ["d"])
    assert outputs.certainty is not None and outputs.certainty.tolist() == [-3.5, -3.5]
    with pytest.raises(ValueError, match="`scale` must be 1 for .*a.jsonl, since vlcal wrote it"):
        read(tmp_path, "a.jsonl", [row], scale=scale_of(10))


def test_lmms_eval_confidences_stand_in_the_raw_response_and_the_metric_is_the_verdict(tmp_path: Path) -> None:
    name = "20261123_101500_samples_chartqa.jsonl"
    metrics = [{"relaxed_overall": 1.0, "relaxed_human_split": 1.0}, {"relaxed_overall": 0.0}]

    outputs = read(tmp_path, name, samples(metrics))

    np.testing.assert_allclose(outputs.confidence["visual"], [0.9, 0.2])
    np.testing.assert_allclose(outputs.confidence["reasoning"], [0.8, 0.5])
    np.testing.assert_allclose(outputs.confidence["overall"], [2 * 0.72 / 1.7, 0.2 / 0.7])
    assert outputs.truth["overall"].tolist() == [1, 0]
    assert outputs.dataset.tolist() == ["chartqa", "chartqa"]
    assert outputs.question.tolist() == ["0", "1"]


def test_lmms_eval_leaves_the_raw_response_out_where_nothing_was_filtered(tmp_path: Path) -> None:
    row = samples([{"exact_match": 1.0}], [SURE])[0]
    del row["resps"]

    assert read(tmp_path, "a.jsonl", [row | {"filtered_resps": SURE}]).confidence["visual"].tolist() == [0.9]


@pytest.mark.parametrize(
    "metrics",
    [
        # As mmstar: an object per category beside the average of all.
        [{"coarse": {"score": 1.0}, "average": {"score": 1.0}}, {"math": {"score": 0.0}, "average": {"score": 0.0}}],
        # As pope: several metrics that are one.
        [{"pope_accuracy": {"score": s}, "pope_recall": {"score": s}} for s in (1.0, 0.0)],
        # As mathvista.
        [{"llm_as_judge_eval": {"true_false": t}, "submission": {"true_false": t}} for t in (True, False)],
        # As the reasoning variants: the form is no verdict on the answer.
        [{"format_score": 1.0, "acc_score": 1}, {"format_score": 1.0, "acc_score": 0}],
    ],
)
def test_the_verdict_of_lmms_eval_is_found_in_the_shapes_that_tasks_give_it(
    tmp_path: Path, metrics: list[dict[str, Any]]
) -> None:
    assert read(tmp_path, "a.jsonl", samples(metrics)).truth["overall"].tolist() == [1, 0]


def test_metrics_that_disagree_or_judge_nothing_are_refused_until_one_is_named(tmp_path: Path) -> None:
    two = samples([{"one": 1.0, "other": 0.0}, {"one": 0.0, "other": 0.0}])
    none = samples([{"mmmu_acc": {"parsed_pred": ["A"], "deep": {"hit": 1}}}] * 2)

    with pytest.raises(ValueError, match="one, other all judge every sample, and not alike. Name one: --correct NAME"):
        read(tmp_path, "a.jsonl", two)
    assert read(tmp_path, "a.jsonl", two, correct="other").truth["overall"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="no metric of the task is a verdict.*--correct NAME"):
        read(tmp_path, "a.jsonl", none)
    assert read(tmp_path, "a.jsonl", none, correct="mmmu_acc.deep.hit").truth["overall"].tolist() == [1, 1]


def test_a_sample_with_several_responses_and_one_verdict_is_refused(tmp_path: Path) -> None:
    row = samples([{"exact_match": 0.5}], [SURE])[0] | {"resps": [[SURE, UNSURE]]}

    with pytest.raises(ValueError, match="row 1, column `resps`: one response per sample .* got 2"):
        read(tmp_path, "a.jsonl", [row])


@pytest.mark.parametrize("verdict", [{"hit": "1"}, {"score": "True"}, {"eval_score": "1.0"}])
def test_vlmevalkit_tables_hold_the_response_and_a_verdict(tmp_path: Path, verdict: dict[str, str]) -> None:
    (name, value), path = next(iter(verdict.items())), tmp_path / "m_MMStar_exact_matching_result.tsv"
    path.write_text(f'"index"\t"prediction"\t"{name}"\n"7"\t"{SURE}"\t"{value}"\n"8"\t"nonsense"\t"0"\n')

    outputs = read_outputs(path)

    np.testing.assert_array_equal(outputs.confidence["visual"], [0.9, np.nan])
    assert outputs.truth["overall"].tolist() == [1, 0]
    assert outputs.question.tolist() == ["7", "8"]


def test_vlmevalkit_predictions_that_are_not_judged_yet_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not judged yet.*Give the file that the evaluation wrote beside it"):
        read(tmp_path, "a.json", [{"index": 1, "prediction": SURE, "answer": "A"}])


def test_a_pattern_finds_the_last_number_and_takes_the_scale(tmp_path: Path) -> None:
    texts = ["Confidence: 20%. No, wait. Confidence: 90%", "I do not know"]
    rows = [{"response": text, "correct": 1} for text in texts]
    pattern = r"Confidence: (?P<confidence>\d+)%"

    outputs = read(tmp_path, "a.jsonl", rows, statement=PatternStatement(pattern, scale_of(100)))

    np.testing.assert_array_equal(outputs.confidence["overall"], [0.9, np.nan])
    with pytest.raises(ValueError, match="90 is above 1, and nobody said the scale"):
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
