"""`vlcal score` on files as people have them: one figure checked by hand, every format, and nothing half-written."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vlcal.cli import main
from vlcal.commands.score import score
from vlcal.evaluation.metrics.table import METRICS
from vlcal.evaluation.report.runs import load_runs

BASELINES = ["temperature", "platt", "beta", "isotonic", "histogram"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as JSON Lines."""

    def written(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return written


@pytest.fixture
def scored(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What the command says as JSON, with few draws."""

    def run(*files: Path, **settings: Any) -> Any:
        score(list(files), **{"format": "json", "draws": 20, **settings})
        return json.loads(capsys.readouterr().out, parse_constant=_no_constant)

    return run


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def rows(count: int = 60, seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    stated = [rng.randrange(11) / 10 for _ in range(count)]
    return [
        {"id": number, "confidence": value, "correct": int(rng.random() < value), **more}
        for number, value in enumerate(stated)
    ]


def test_figures_of_a_small_file_are_those_worked_out_by_hand(
    write: Callable[..., Path], scored: Callable[..., Any]
) -> None:
    path = write("a.jsonl", [{"confidence": c, "correct": y} for c, y in ((0.9, 1), (0.9, 0), (0.2, 0), (0.2, 0))])

    overall = scored(path)["overall"]

    assert overall["accuracy"]["value"] == 0.25
    assert overall["ece_equal_width"]["value"] == pytest.approx(0.5 * 0.4 + 0.5 * 0.2)
    assert overall["brier"]["value"] == pytest.approx((0.01 + 0.81 + 0.04 + 0.04) / 4)
    assert overall["auroc"]["value"] == pytest.approx(2.5 / 3)


def test_a_file_of_two_columns_gives_every_metric_with_its_interval(
    write: Callable[..., Path], scored: Callable[..., Any]
) -> None:
    given = [{name: row[name] for name in ("confidence", "correct")} for row in rows()]

    found = scored(write("a.jsonl", given))

    assert list(found["overall"]) == list(METRICS)
    assert not {"visual", "reasoning"} & set(found)
    auroc = found["overall"]["auroc"]
    expected = roc_auc_score([row["correct"] for row in given], [row["confidence"] for row in given])
    assert auroc["value"] == pytest.approx(expected, abs=1e-9)
    assert auroc["low"] < auroc["value"] < auroc["high"]
    assert found["counts"]["overall"] == {"n": 60, "questions": 60, "unparsed": 0, "unknown": 0}


def test_all_three_kinds_are_held_against_their_own_truth(
    write: Callable[..., Path], scored: Callable[..., Any]
) -> None:
    given = [
        {
            "visual": 0.8,
            "reasoning": 0.4,
            "confidence": 0.5,
            "correct": 0,
            "perception_correct": 1,
            "reasoning_correct": 0,
        },
        {
            "visual": 0.2,
            "reasoning": 0.4,
            "confidence": 0.5,
            "correct": 1,
            "perception_correct": 1,
            "reasoning_correct": 0,
        },
    ]

    found = scored(write("a.jsonl", given))

    assert [found[kind]["accuracy"]["value"] for kind in ("overall", "visual", "reasoning")] == [0.5, 1.0, 0.0]
    assert found["held_against"] == {
        "overall": "correct",
        "visual": "perception_correct",
        "reasoning": "reasoning_correct",
    }
    assert found["visual"]["auroc"] == {"value": None, "low": None, "high": None}
    assert found["correlation"] == {"pearson": None, "spearman": None, "n": 2}


def test_samples_of_one_question_are_resampled_together(write: Callable[..., Path], scored: Callable[..., Any]) -> None:
    alone = scored(write("a.jsonl", rows()), draws=200)
    copied = scored(write("b.jsonl", [row for row in rows() for _ in range(8)]), draws=200)

    assert copied["overall"]["brier"] == pytest.approx(alone["overall"]["brier"])
    assert copied["counts"]["overall"]["questions"] == 60


def test_data_sets_are_scored_apart_and_averaged(write: Callable[..., Path], scored: Callable[..., Any]) -> None:
    small, large = rows(20, seed=1, dataset="small"), rows(60, seed=2, dataset="large")

    found = scored(write("a.jsonl", small + large))

    alone = scored(write("b.jsonl", small))["overall"]["brier"]["value"]
    values = [found["datasets"][name]["overall"]["brier"]["value"] for name in ("small", "large")]
    assert values[0] == pytest.approx(alone)
    assert found["macro"]["overall"]["brier"]["value"] == pytest.approx(np.mean(values))


def test_responses_without_a_confidence_count_as_wrong_and_unsure_unless_left_out(
    write: Callable[..., Path], scored: Callable[..., Any]
) -> None:
    path = write("a.jsonl", [{"confidence": 0.75, "correct": 1}, {"confidence": None, "correct": 1}])

    counted, left_out = scored(path), scored(path, absent="leave-out")

    assert counted["overall"]["accuracy"]["value"] == 0.5
    assert left_out["overall"]["accuracy"]["value"] == 1.0
    assert counted["counts"]["overall"]["unparsed"] == left_out["counts"]["overall"]["unparsed"] == 1
    assert counted["absent"] != left_out["absent"]


@pytest.mark.parametrize(
    ("absent", "label"),
    [
        ("wrong-and-unsure", "accuracy, wrong where no confidence is stated"),
        ("leave-out", "accuracy, only where a confidence is stated"),
    ],
)
def test_the_label_of_accuracy_says_how_absent_confidences_count(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str], absent: Literal["wrong-and-unsure"], label: str
) -> None:
    some = [{"confidence": 0.5, "correct": 1, "dataset": "ab"[number % 2]} for number in range(7)]
    some.append({"confidence": None, "correct": 1, "dataset": "b"})

    score([write("a.jsonl", some)], format="markdown", draws=0, absent=absent)

    said = capsys.readouterr().out
    assert f"| {label} | " in said, "all responses"
    assert f"| data set | responses | {label} | " in said, "by data set"


def test_a_model_that_never_states_a_confidence_is_scored_too(
    write: Callable[..., Path], scored: Callable[..., Any]
) -> None:
    found = scored(write("a.jsonl", [{"confidence": None, "correct": number % 2} for number in range(10)]))

    assert found["overall"]["parse_rate"]["value"] == found["overall"]["accuracy"]["value"] == 0.0
    assert found["counts"]["overall"]["unparsed"] == 10


def test_baselines_are_fitted_to_other_questions_and_stand_beside_what_was_stated(
    write: Callable[..., Path], scored: Callable[..., Any]
) -> None:
    overconfident = [{**row, "confidence": 0.5 + row["confidence"] / 2} for row in rows(300)]

    found = scored(write("a.jsonl", overconfident))

    assert list(found["posthoc"]["overall"]) == BASELINES
    stated = found["overall"]["brier"]["value"]
    assert found["posthoc"]["overall"]["platt"]["brier"]["value"] < stated


def test_the_visual_certainty_is_a_baseline_where_it_was_measured(
    write: Callable[..., Path], scored: Callable[..., Any]
) -> None:
    ours = {"response": "x", "well_formed": False, "visual": None, "reasoning": None}
    path = write(
        "a.jsonl",
        [
            {**ours, "overall": row["confidence"], "correct": row["correct"], "certainty_score": 2.0 * row["correct"]}
            for row in rows()
        ],
    )

    posthoc = scored(path)["posthoc"]["overall"]

    (added,) = set(posthoc) - set(BASELINES)
    assert posthoc[added]["auroc"]["value"] > 0.95 > posthoc["platt"]["auroc"]["value"]


def test_runs_on_the_same_questions_are_compared_pairwise_with_the_first(
    write: Callable[..., Path], scored: Callable[..., Any]
) -> None:
    before = rows()
    after = [{**row, "confidence": 1.0 if row["correct"] else 0.0} for row in before]
    other = [{**row, "id": -1 - row["id"]} for row in before]
    files = write("before.jsonl", before), write("after.jsonl", after), write("other.jsonl", other)

    found = scored(*files, scale=1)

    first, second, _ = (run["overall"]["brier"]["value"] for run in found["runs"])
    same, different = found["differences"]
    assert same["overall"]["brier"]["value"] == pytest.approx(second - first) == pytest.approx(-first)
    assert same["overall"]["brier"]["high"] < 0
    assert list(different) == ["file", "notes"] and different["file"].endswith("other.jsonl")
    assert different["notes"]["overall"] == "no paired difference, since it shares no question with before"


def test_markdown_puts_files_in_columns_with_their_difference(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write("one|two.jsonl", rows()), write("b.jsonl", rows())]

    score(files, format="markdown", draws=5)

    said = capsys.readouterr().out
    header, rule, accuracy = said.splitlines()[2:5]
    assert header == "| metric | one\\|two | b | b − one\\|two |"
    assert rule == "| --- | ---: | ---: | ---: |"
    assert accuracy.startswith("| accuracy | 0.") and accuracy.endswith("| 0.000 (0.000 to 0.000; detectable 0.000) |")
    assert "- ECE, equal width: 10 bins of equal width" in said
    assert "| b, isotonic | 0." in said


def test_the_table_names_what_was_counted_and_what_each_is_held_against(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("[bold]a.jsonl", [*rows(), {"id": 99, "confidence": None, "correct": 1}])

    score([path], draws=5)

    said = capsys.readouterr().out
    assert "Overall confidence, held against correct (whether the answer is right)" in said
    assert "[bold]a: 61 responses to 61 questions; 1 without a confidence, scored as wrong and unsure" in said


def test_files_of_one_name_are_named_by_their_folders_too(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()

    score([write("x/a.jsonl", rows()), write("y/a.jsonl", rows())], format="markdown", draws=0)

    assert "| x/a | y/a |" in capsys.readouterr().out


def test_prediction_files_in_a_folder_are_runs_as_in_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, stated in (("after", 0.2), ("before", 0.7)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": "a", "overall": stated, "correct": 1}))

    score([tmp_path], format="markdown", draws=0)

    assert "| before | after |" in capsys.readouterr().out
    assert [run.name for run in load_runs([tmp_path])] == ["before", "after"]


def test_csv_holds_the_numbers_of_json(
    write: Callable[..., Path], scored: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("a.jsonl", rows())
    expected = scored(path)["overall"]["brier"]["value"]

    score([path], format="csv", draws=0)

    lines = csv.DictReader(capsys.readouterr().out.splitlines())
    (line,) = [line for line in lines if (line["metric"], line["readout"]) == ("brier", "stated")]
    assert (line["run"], line["dataset"], line["responses"]) == ("a", "(all)", "60")
    assert float(line["value"]) == pytest.approx(expected, abs=1e-6) and line["low"] == ""


def test_no_draws_leave_the_intervals_out(write: Callable[..., Path], scored: Callable[..., Any]) -> None:
    brier = scored(write("a.jsonl", rows()), draws=0)["overall"]["brier"]

    assert brier["value"] > 0 and brier["low"] is brier["high"] is None


def test_the_same_seed_gives_the_same_figures(write: Callable[..., Path], scored: Callable[..., Any]) -> None:
    path = write("a.jsonl", rows())

    assert scored(path, seed=1) == scored(path, seed=1) != scored(path, seed=2)


def test_an_output_file_appears_whole_or_not_at_all(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "figures.json"
    bad = write("bad.jsonl", [{"confidence": 0.5, "correct": 1}, {"confidence": "x", "correct": 1}])

    with pytest.raises(ValueError, match="bad.jsonl, row 2, column `confidence`"):
        score([write("a.jsonl", rows()), bad], format="json", output=output)
    assert not output.parent.exists()

    score([write("a.jsonl", rows())], format="json", output=output, draws=5)
    assert json.loads(output.read_text())["overall"]["accuracy"]["value"] > 0
    assert [path.name for path in output.parent.iterdir()] == ["figures.json"]
    assert capsys.readouterr().out == ""


def test_negative_draws_are_refused_before_any_file_is_opened() -> None:
    with pytest.raises(ValueError, match="`draws` must be at least 0"):
        score([Path("nowhere")], draws=-1)


def test_the_command_line_takes_files_and_options(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [{"sure": row["confidence"] * 100, "right": row["correct"]} for row in rows()]
    files = [str(write(f"{name}.jsonl", given)) for name in "ab"]

    named = ["--confidence", "sure", "--correct", "right", "--scale", "100"]
    main(["score", *files, *named, "--format", "json", "--draws", "5", "--absent", "leave-out"])

    found = json.loads(capsys.readouterr().out)
    assert [run["file"] for run in found["runs"]] == files
    assert found["differences"][0]["overall"]["brier"]["value"] == 0


def test_a_refusal_is_one_line_on_the_command_line(write: Callable[..., Path]) -> None:
    with pytest.raises(SystemExit, match=r"vlcal: error: .*a.jsonl, row 1, column `confidence`: 7 is above 1"):
        main(["score", str(write("a.jsonl", [{"confidence": 7, "correct": 1}]))])


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("brier<=0.05", None),  # (0.1^2 + 0.2^2 + 0.2^2) / 3 = 0.03
        ("brier<=0.02", "overall.brier is 0.0300, not <= 0.02"),
        ("auroc>=1", None),
        ("visual.ece<=1", "visual.ece_equal_width is nan"),
    ],
)
def test_a_gate_ends_with_status_1_where_it_is_missed(tmp_path: Path, rule: str, said: str | None) -> None:
    file = tmp_path / "outputs.jsonl"
    rows = [{"confidence": level, "correct": right} for level, right in ((0.9, 1), (0.8, 1), (0.2, 0))]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = ["score", str(file), "--draws", "0", "--gate", rule]

    if said is None:
        main(command)
    else:
        with pytest.raises(SystemExit, match=said):
            main(command)


@pytest.mark.parametrize(
    ("rule", "said"), [("brier<0.1", "METRIC<=LIMIT"), ("bier<=1", "did you mean brier"), ("ece<=low", "METRIC<=LIMIT")]
)
def test_a_gate_that_is_no_rule_is_refused(tmp_path: Path, rule: str, said: str) -> None:
    with pytest.raises(SystemExit, match=f"^vlcal: error: `gate` must .*{said}"):
        main(["score", str(tmp_path / "none.jsonl"), "--gate", rule])
