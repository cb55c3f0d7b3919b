"""Every benchmark, read from a copy in its published schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.benchmark_rows import CASES, PICTURE, mathverse, mathvista, mmmu
from tests.data.cases.base import WRITTEN
from vlcal.data import SUITES, Benchmark, RefuseBadRows, SkipBadRows
from vlcal.data.benchmarks import BENCHMARKS
from vlcal.data.records import Record, RowReader, prompts_of

# The ways in which people and models write one and the same answer.
JUDGED = sorted(name for name, case in CASES.items() if case.right)
PARQUET = sorted(BENCHMARKS)


def records(name: str, path: Path, **settings: Any) -> list[Record]:
    found = Benchmark(name, str(path), **settings).questions(RefuseBadRows())
    return [found[index] for index in range(len(found))]


def judge(record: Record, answer: str) -> float:
    """The verdict of the rule that travels with the prompt."""
    assert record.verifier is not None
    return record.verifier(answer, record.target)


@pytest.fixture(scope="session")
def copies(
    tmp_path_factory: pytest.TempPathFactory, write_hub: Callable[..., Path], write_parquet: Callable[..., Path]
) -> Callable[[str], Path]:
    """A copy of a benchmark: a folder as the hub serves it, or a file where there are splits or configurations many."""

    def copy(name: str) -> Path:
        spec, folder = BENCHMARKS[name], tmp_path_factory.mktemp(name)
        if len(spec.names) > 1:
            return write_parquet(folder / "all.parquet", CASES[name].rows)
        return write_hub(folder, CASES[name].rows, spec.split, spec.names[0] or "default")

    return copy


def test_every_benchmark_has_a_case() -> None:
    assert set(CASES) == set(BENCHMARKS)


@pytest.mark.parametrize("name", JUDGED)
def test_right_answers_are_right_and_wrong_ones_wrong(name: str, copies: Callable[[str], Path]) -> None:
    case = CASES[name]
    record = records(name, copies(name))[0]

    assert record.question == case.question
    assert record.target == case.target
    assert {answer: judge(record, answer) for answer in case.right} == dict.fromkeys(case.right, 1.0)
    assert {answer: judge(record, answer) for answer in case.wrong} == dict.fromkeys(case.wrong, 0.0)
    assert record.extras["dataset"] == name
    assert record.extras["question_id"] == (case.question_id or record.name)
    assert [image.shape for image in prompts_of([record]).images[0]] == [(3, 4, 6)] * case.images


@pytest.mark.parametrize("name", JUDGED)
def test_a_right_answer_stays_right_and_a_wrong_one_wrong_however_it_is_written(
    name: str, copies: Callable[[str], Path]
) -> None:
    case = CASES[name]
    record = records(name, copies(name))[0]

    def judged(answers: list[str]) -> dict[str, float]:
        written = [form.format(answer) for answer in answers if answer for form in WRITTEN]
        return {answer: judge(record, answer) for answer in written}

    assert set(judged([record.target, case.right[0]]).values()) == {1.0}
    assert set(judged(case.wrong[:6]).values()) == {0.0}


def test_the_variants_of_a_question_share_its_name(copies: Callable[[str], Path]) -> None:
    variants = records("dynamath", copies("dynamath"))

    assert len(variants) == 10
    assert {record.extras["question_id"] for record in variants} == {"12"}
    assert len({record.name for record in variants}) == 10


def test_one_table_serves_a_benchmark_and_its_part(copies: Callable[[str], Path]) -> None:
    assert len(records("mathverse", copies("mathverse"))) == 3
    assert len(records("mathverse-vision-only", copies("mathverse"))) == 1


@pytest.mark.parametrize("name", ["virl39k", "clevr-cogen"])
def test_a_training_set_is_judged_on_the_share_that_is_held_out(name: str, copies: Callable[[str], Path]) -> None:
    found = records(name, copies(name))

    assert 0 < len(found) < 20
    for record in found:
        answer = str(int(record.name.split(":")[1]) - 1)
        assert record.target == answer and judge(record, answer) == 1 and judge(record, "999") == 0


@pytest.mark.parametrize(
    ("name", "row", "right", "wrong"),
    [
        ("dynamath", {"answer_type": "multiple choice", "ground_truth": "B"}, ["B", "(b)"], ["A", "BC"]),
        ("dynamath", {"answer_type": "text", "ground_truth": "Even"}, ["even", "Even."], ["odd", "e", "not even", ""]),
        ("dynamath", {"answer_type": "float", "ground_truth": "x+1"}, ["1+x"], ["x"]),
        ("mathverse", mathverse("Text Lite", "Find x.", "free-form", r"2\sqrt{3}"), [r"\sqrt{12}"], ["3.4", "2"]),
        ("mathverse", mathverse("Text Lite", "Which two?", answer="A\nC"), ["A, C", "C and A"], ["A", "A, B"]),
        ("mathverse", mathverse("Text Lite", "True or false?", answer="False"), ["False", "false"], ["True"]),
        ("mathverse", mathverse("Text Lite", "Which way?", answer=r"040^\circ T"), [r"040^\circ T"], [r"050^\circ T"]),
        ("logicvista", {"question": "Select from 1-5", "answer": "4"}, ["4"], ["5", "D", "A, C"]),
        ("dynamath", {"answer_type": "single answer", "ground_truth": "49"}, ["49", "49.0"], ["48"]),
        ("dynamath", {"answer_type": "int", "ground_truth": "5.0000000000000001"}, ["5"], ["6"]),
        ("mmmu-pro", {"options": "[['one', 'two', 'neither']]", "answer": "B"}, ["B", "two"], ["A", "neither"]),
        ("mathvision", {"options": [], "answer": r"\frac{3}{4}"}, ["0.75", "3/4"], ["3", "4/3"]),
        ("mathvision", {"options": ["one", "two", "3", "4", "5"]}, ["B", "two"], ["3", "one"]),
        (
            "mathvista",
            {"answer_type": "integer", "precision": None, "answer": "7"},
            ["7", "7.0", "7 m"],
            ["8", "seven"],
        ),
        ("mathvista", {"answer_type": "list", "precision": None, "answer": "[0, 2]"}, ["[0, 2]", "[0,2.0]"], ["2, 0"]),
        ("mathvista", {"answer_type": "text", "precision": None, "answer": "Yes"}, ["yes"], ["yes it does", "no"]),
        (
            "mathvista",
            {"choices": ["145°", "35°"], "answer": "145°", "answer_type": "text", "question_type": "multi_choice"},
            ["(A)", "145°", "A. 145°", "145 °"],
            ["B", "35°", "35 degrees", ""],
        ),
        ("mmmu", mmmu(options="[]", question_type="open", answer="['1/7', '0.14']"), ["1/7", "0.14"], ["7", "0.15"]),
        ("mmmu", mmmu(options="[]", question_type="open", answer="Transformer"), ["transformer"], ["T"]),
        ("chartqa", {"answer": "Red"}, ["red"], ["dark red", "5"]),
        ("chartqa", {"answer": "12%"}, ["12%", "0.12", "12.5%"], ["12", "13%"]),
        ("chartqa", {"answer": "0"}, ["0", "0.0"], ["1", "0.01"]),
        ("hallusionbench", {"gt_answer": "1"}, ["Yes"], ["No", "1 or 0"]),
        ("ai2d", {"answer": 2}, ["C", "figs"], ["2", "B"]),
        ("virl39k", {"answer": "C"}, ["C", "(c)"], ["B"]),
        ("virl39k", {"answer": "a:b"}, ["a:b"], ["a"]),
    ],
)
def test_every_kind_of_answer_has_its_rule(
    tmp_path: Path, name: str, row: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    whole = {**CASES[name].rows[0], **row}
    spec = BENCHMARKS[name]
    layout = next(layout for layout in spec.layouts if set(layout.names) <= set(whole))
    record = RowReader(name, layout, spec.rule, spec.ask)(whole, 1, "here", tmp_path)

    assert {answer: judge(record, answer) for answer in right} == dict.fromkeys(right, 1.0)
    assert {answer: judge(record, answer) for answer in wrong} == dict.fromkeys(wrong, 0.0)


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("a-okvqa", {"correct_choice_idx": None}, "the answer must be a text or a number; got None"),
        ("a-okvqa", {"correct_choice_idx": 3}, "the answer must be the place of one of 3 options"),
        ("ai2d", {"image": None}, "`image` must hold an image"),
        ("mmmu", {"options": "['$6', "}, "options must be a list"),
        ("mmmu", {"answer": "D"}, "`target` must be the letter of one of the 3 options; got 'D'"),
        ("mathverse", {"question_type": "essay"}, "`question_type` must be one of"),
        ("mathvista", {"answer_type": "essay"}, "`answer_type` must be integer, float, list or text"),
        ("mathvista", {"answer": "far"}, "`target` must be a number for `RoundedVerifier`; got 'far'"),
        ("pope", {"answer": "maybe"}, "`target` must be yes or no"),
        ("hallusionbench", {"gt_answer": "2"}, "the answer must be 0 or 1"),
        ("clevr", {"answer": "many"}, "`target` must be a whole number"),
        ("logicvista", {"answer": "none"}, "`target` must be letters"),
    ],
)
def test_a_row_that_breaks_its_schema_is_named(
    tmp_path: Path, write_parquet: Callable[..., Path], name: str, row: dict[str, Any], reason: str
) -> None:
    good = CASES[name].rows[0]
    path = write_parquet(tmp_path / "copy.parquet", [good, {**good, **row}])

    with pytest.raises(ValueError, match=rf"copy\.parquet, row 2: .*{reason}"):
        records(name, path)
    assert len(Benchmark(name, str(path)).questions(SkipBadRows(limit=0.5))) == 1


def test_the_numbered_pictures_of_mathvision_are_parts_of_one_image(
    tmp_path: Path, write_parquet: Callable[..., Path]
) -> None:
    row = {**CASES["mathvision"].rows[0], "question": "<image1>\nWhich is opposite to <image3>?\n<image4>"}
    (record,) = records("mathvision", write_parquet(tmp_path / "copy.parquet", [row]))

    assert len(record.images) == 1 and record.question.startswith("Which is opposite to ?")


def test_other_copies_may_have_other_columns(tmp_path: Path, write_parquet: Callable[..., Path]) -> None:
    row = {"problem": "<image>Which?\nA. 1\nB. 2", "answer": "B", "images": [PICTURE]}

    assert records("mmk12", write_parquet(tmp_path / "copy.parquet", [row]))[0].question == "Which?\nA. 1\nB. 2"


def test_a_copy_with_the_columns_of_something_else_is_refused(
    tmp_path: Path, write_parquet: Callable[..., Path]
) -> None:
    path = write_parquet(tmp_path / "copy.parquet", [{"text": "?", "label": "B", "image": PICTURE}])
    with pytest.raises(
        ValueError,
        match="must have .* question, answer, image; it has image, label, text. Rename them",
    ):
        records("mmstar", path)


def test_a_copy_may_be_a_json_lines_file_with_paths(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(PICTURE["bytes"])
    row = {**CASES["mmstar"].rows[0], "image": "1.png"}
    (tmp_path / "mmstar.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")

    assert records("mmstar", tmp_path / "mmstar.jsonl")[0].target == "B"


def test_a_copy_with_a_single_configuration_serves_for_all(tmp_path: Path, write_hub: Callable[..., Path]) -> None:
    copy = write_hub(tmp_path / "mmmu", CASES["mmmu"].rows, "validation")

    assert len(records("mmmu", copy)) == 1


def test_a_copy_with_other_configurations_names_them(tmp_path: Path, write_hub: Callable[..., Path]) -> None:
    copy = write_hub(tmp_path / "pro", CASES["mmmu-pro"].rows, "test", "one")
    card = (copy / "README.md").read_text(encoding="utf-8")
    more = card.split("configs:\n")[1].rstrip("-\n").replace("config_name: one", "config_name: two")
    (copy / "README.md").write_text(card.rstrip("-\n") + "\n" + more + "\n---\n", encoding="utf-8")

    with pytest.raises(ValueError, match="`config` must name one of the configurations of .*, which are one, two"):
        records("mmmu-pro", copy)
    assert len(records("mmmu-pro", copy, config="two")) == 1


def test_another_split_is_asked_for_by_name(tmp_path: Path, write_hub: Callable[..., Path]) -> None:
    copy = write_hub(tmp_path / "ai2d", CASES["ai2d"].rows, "validation")

    assert len(records("ai2d", copy, split="validation")) == 1
    with pytest.raises(ValueError, match="`name` and `split` must be in .* test is not: Unknown split"):
        records("ai2d", copy)


def test_a_limit_takes_questions_from_all_over(tmp_path: Path, write_parquet: Callable[..., Path]) -> None:
    rows = [{**mathvista(), "pid": str(row)} for row in range(10)]
    path = write_parquet(tmp_path / "copy.parquet", rows)

    ids = [record.extras["question_id"] for record in records("mathvista", path, limit=4)]
    assert ids == ["0", "2", "5", "7"]
    assert len(records("mathvista", path, limit=99)) == 10


def test_an_unknown_benchmark_or_an_empty_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="`name` must be one of dynamath, .*; got 'mathvist'"):
        Benchmark("mathvist")
    with pytest.raises(ValueError, match="`limit` must be at least 1 question"):
        Benchmark("mathvista", limit=0)


def test_the_suite_of_the_paper_has_thirteen_sets() -> None:
    assert len(set(SUITES["vl-calibration"])) == 13
    assert {*SUITES["vl-calibration"]} < {*SUITES["all"]} == {*BENCHMARKS}
