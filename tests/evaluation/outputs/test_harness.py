"""What evaluation harnesses write, in its real schema, read into confidences and verdicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.outputs.rows import SURE, UNSURE, read
from vlcal.cli import main
from vlcal.evaluation.outputs import Request, read_outputs


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
        # As mathvision: a list with the verdict on the one response.
        [{"standard_eval": {"response": ["x"], "scores": [t]}} for t in (True, False)],
        # As mmmu: the parsed letter beside the right one.
        [{"mmmu_acc": {"question_type": "multiple-choice", "answer": "B", "parsed_pred": [p]}} for p in "BA"],
        # As mme: each metric covers one part.
        [{"perception_score": {"category": "color", "score": 1.0}}, {"cognition_score": {"score": 0.0}}],
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
    none = samples([{"mmmu_acc": {"parsed": ["A"], "deep": {"hit": 1}}}] * 2)

    with pytest.raises(ValueError, match="one, other all judge every sample, and not alike. Name one: --correct NAME"):
        read(tmp_path, "a.jsonl", two)
    assert read(tmp_path, "a.jsonl", two, correct="other").truth["overall"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="row 1: no metric of the task is a verdict.*--correct NAME"):
        read(tmp_path, "a.jsonl", none)
    assert read(tmp_path, "a.jsonl", none, correct="mmmu_acc.deep.hit").truth["overall"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("answer", "parsed", "right"),
    [
        ("dog", ["a brown dog"], 1),
        ("dog", ["a cat"], 0),
        ("['1/7', '0.14']", ["0.143"], 1),
        ("1,200", [["so", 1200.0]], 1),
        ("0.15", ["0.16"], 0),
        ("a", ["banana"], 0),
        ("None", ["nan"], 0),
    ],
)
def test_an_open_answer_of_mmmu_is_judged_by_the_rule_of_mmmu(
    tmp_path: Path, answer: str, parsed: list[Any], right: int
) -> None:
    metric = {"mmmu_acc": {"question_type": "open", "answer": answer, "parsed_pred": parsed}}

    assert read(tmp_path, "a.jsonl", samples([metric, metric])).truth["overall"].tolist() == [right, right]


def test_the_log_of_mmmu_is_scored_as_the_documentation_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parsed = [("multiple-choice", "B", "B"), ("multiple-choice", "C", "A"), ("open", "dog", "a dog")]
    metrics = [{"question_type": kind, "answer": answer, "parsed_pred": [given]} for kind, answer, given in parsed]
    log = samples(
        [{"mmmu_acc": metric, "mmmu_acc_pass_at_k": metric, "submission": {"id": "x"}} for metric in metrics],
        [f"It is so. Confidence: {level}%" for level in (90, 40, 70)],
    )
    path = tmp_path / "samples_mmmu_val.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in log))

    main(["score", str(path), "--pattern", r"Confidence: (?P<confidence>\d+)%", "--scale", "100", "--draws", "0"])

    said = capsys.readouterr().out
    assert "3 responses to 3 questions" in said and "0.667" in said  # the accuracy


def test_parts_that_judge_one_sample_differently_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 2, column `one, two`: its metrics judge it differently, 0 and 1"):
        read(tmp_path, "a.jsonl", samples([{"one": 1.0}, {"one": 1.0, "two": 0.0}, {"two": 1.0}], [SURE] * 3))


def harness_log(filters: Sequence[str | None]) -> list[dict[str, Any]]:
    """Lines of lm-evaluation-harness: each sample once after each filter; after the first both are wrong."""
    return [
        {
            "doc_id": number,
            "doc": {"question": "What?"},
            "target": "cat",
            "arguments": {"gen_args_0": {"arg_0": "What?"}},
            "resps": [[text]],
            "filtered_resps": [f"{place}{number}"],
            **({} if name is None else {"filter": name}),
            "metrics": ["exact_match"],
            "doc_hash": f"9{number}",
            "prompt_hash": "1",
            "target_hash": "0",
            "exact_match": float(place > 0 and number),
        }
        for place, name in enumerate(filters)
        for number, text in enumerate((SURE, UNSURE))
    ]


def test_one_filter_of_a_log_is_read_when_it_is_named_and_several_are_never_pooled(tmp_path: Path) -> None:
    name, log = "samples_gsm8k_2026-11-23T10-15-00.123456.jsonl", harness_log(["strict-match", "flexible-extract"])

    strict = read(tmp_path, name, log, filter="strict-match")
    flexible = read(tmp_path, name, log, filter="flexible-extract")

    assert (strict.truth["overall"].tolist(), flexible.truth["overall"].tolist()) == ([0, 0], [0, 1])
    assert strict.confidence["visual"].tolist() == [0.9, 0.2]
    assert (strict.question.tolist(), strict.dataset.tolist()) == (["0", "1"], ["gsm8k", "gsm8k"])
    (tmp_path / "results.json").write_text('{"results": {}, "n": 2}')
    assert read_outputs(tmp_path, Request(filter="flexible-extract")).truth["overall"].tolist() == [0, 1]
    assert read(tmp_path, name, harness_log(["none"])).truth["overall"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="each of 2 filters: strict-match, flexible-extract. Choose one: --filter"):
        read(tmp_path, name, log)
    with pytest.raises(ValueError, match="`filter` must be one that .* names, which are strict.*; got 'strict'"):
        read(tmp_path, name, log, filter="strict")
    with pytest.raises(ValueError, match="`filter` chooses among the filters of a sample log"):
        read(tmp_path, name, [{"confidence": 0.5, "correct": 1}], filter="none")


def test_filters_that_a_log_does_not_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 3, column `filtered_resps`: one response is judged twice.*Keep the rows"):
        read(tmp_path, "a.jsonl", harness_log([None, None]))
    assert len(read(tmp_path, "a.jsonl", harness_log([None]) * 2).question) == 4


def test_a_sample_with_several_responses_and_one_verdict_is_refused(tmp_path: Path) -> None:
    row = samples([{"exact_match": 0.5}], [SURE])[0] | {"resps": [[SURE, UNSURE]]}

    with pytest.raises(ValueError, match="row 1, column `resps`: one response per sample .* got 2"):
        read(tmp_path, "a.jsonl", [row])


@pytest.mark.parametrize(
    "verdict", [{"hit": "1"}, {"score": "True"}, {"eval_score": "1.0"}, {"correct": "1"}, {"is_correct": "True"}]
)
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


def test_a_vlmevalkit_table_with_the_extracted_answer_only_is_judged_by_it(tmp_path: Path) -> None:
    rows = [
        {"index": 1, "answer": "145", "answer_option": "A", "res": "A"},
        {"index": 2, "answer": "145", "answer_option": "A", "res": "B"},
        {"index": 3, "answer": "1.2", "answer_option": None, "res": "1.20"},
        {"index": 4, "answer": "7", "answer_option": "", "res": 8},
        {"index": 5, "answer": "7", "answer_option": "", "res": None},
    ]

    outputs = read(tmp_path, "a.jsonl", [row | {"prediction": SURE, "log": "Succeed"} for row in rows])

    assert outputs.truth["overall"].tolist() == [1, 0, 1, 0, 0]
