"""The question files that benchmarks publish beside their images: every row of them is read, or left out by name."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tests.data.cases.base import PICTURE, WRITTEN
from tests.data.cases.files import FILES, LINES
from vlcal.data import Benchmark, Columns, JsonLines, RefuseBadRows
from vlcal.data.questions import Questions


def write(folder: Path, name: str) -> Path:
    published, path = FILES[name], folder / f"{name}{LINES.get(name, '.json')}"
    as_lines = "".join(json.dumps(row) + "\n" for row in published.content)
    path.write_text(as_lines if name in LINES else json.dumps(published.content, indent=4), encoding="utf-8")
    for image in filter(None, published.images):
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).write_bytes(PICTURE["bytes"])
    return path


def read(name: str, path: Path) -> Questions:
    return Benchmark(name, str(path)).questions(RefuseBadRows())


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_row_of_a_published_question_file_is_read_and_judged(tmp_path: Path, name: str) -> None:
    published = FILES[name]

    questions = read(name, write(tmp_path, name))

    records = [questions[index] for index in range(len(questions))]
    for record, right, wrong in zip(records, published.right, published.wrong, strict=True):
        honest = [form.format(answer) for answer in (right, record.target) for form in WRITTEN]
        dishonest = [form.format(wrong) for form in WRITTEN]
        assert {answer: record.verifier(answer, record.target) for answer in honest} == dict.fromkeys(honest, 1.0)
        assert {answer: record.verifier(answer, record.target) for answer in dishonest} == dict.fromkeys(dishonest, 0.0)
    assert records[0].extras["question_id"] == published.question_id
    assert len(questions.left_out) == published.left_out


def test_a_row_that_is_known_to_be_unusable_is_left_out_by_name_and_others_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "logicvista")
    with caplog.at_level(logging.WARNING):
        read("logicvista", path)
    assert "logicvista.json, row v1_382: `question` must not be empty" in caplog.text
    assert "1 of 3 rows are left out" in caplog.text

    content = FILES["logicvista"].content
    path.write_text(json.dumps(content | {"v1_0": content["v1_0"] | {"answer": ""}}), encoding="utf-8")
    with pytest.raises(ValueError, match="row v1_0: the answer must not be empty. 1 of 3 rows"):
        read("logicvista", path)
    path.write_text(json.dumps(content | {"v1_382": content["v1_0"]}), encoding="utf-8")
    assert len(read("logicvista", path)) == 3


def test_a_file_that_is_no_copy_of_a_benchmark_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, "pope")

    with pytest.raises(ValueError, match=r"pope.json must have the columns of a .* copy, .*pid, or .*it has .*text"):
        read("mathvista", path)
    path.rename(tmp_path / "pope.tsv")
    with pytest.raises(ValueError, match=r"`path` must end in .parquet, .jsonl, .json where .* got .*pope.tsv"):
        read("pope", tmp_path / "pope.tsv")
    with pytest.raises(ValueError, match=r"`path` must be a JSON file; .*gone.json is not there"):
        read("pope", tmp_path / "gone.json")
    (tmp_path / "cut.json").write_text('[{"text": "?", "label"')
    with pytest.raises(ValueError, match=r"cut.json, row 1: not JSON"):
        read("pope", tmp_path / "cut.json")


def test_an_image_that_is_not_there_is_named_with_the_folder_that_its_path_starts_from(tmp_path: Path) -> None:
    path = write(tmp_path, "chartqa")
    (tmp_path / "4.png").unlink()

    with pytest.raises(ValueError, match=f"row 1: image .*4.png.* is not there, .*Paths are relative to {tmp_path}"):
        read("chartqa", path)


def test_questions_to_learn_from_may_be_any_json_document(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(
        json.dumps({"a": {"question": "1", "answer": "x"}, "b": {"question": "2", "answer": "y"}}, indent=1)
    )

    assert JsonLines(path, Columns(images=())).questions(RefuseBadRows()).texts == ["1", "2"]
