"""Whatever stands in a file of rows: it is read, or refused by an error that names the file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from vlcal.data import AsWritten, ByIndex, ByLetter, Columns, Csv, JsonLines, SkipBadRows
from vlcal.data.records import prompts_of
from vlcal.data.rules import AnswerKey
from vlcal.errors import UserError
from vlcal.evaluation.outputs import DeclaredScale, Request, read_outputs

WHOLE: dict[str, Any] = {
    "id": "q",
    "question": "What is it? <image>",
    "answer": "7",
    "response": "<think>",
    "options": ["a", "b"],
    "correct": 1,
    "overall": 0.5,
    "visual": 0.25,
    "reasoning": 0.75,
    "images": [],
    "image": None,
    "dataset": "d",
}
texts = st.text(st.characters(), max_size=12) | st.sampled_from(  # half characters too
    ["0.5", "yes", "\\boxed{5}", "<image 2>", "['a', 1]", "nan", "A", "../a.png", "data:image/png;base64,", "1e400"]
)
scalars = st.none() | st.booleans() | st.integers(-(10**420), 10**420) | st.floats() | texts
cells = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bytes", "path"]) | texts, inner),
    max_leaves=5,
)
names = st.sampled_from([*WHOLE, "target", "prediction", "resps", "filtered_resps", "doc", "score", "hit"]) | texts
rows = st.lists(st.dictionaries(names, cells, max_size=2).map(lambda changes: WHOLE | changes), min_size=1, max_size=4)


def json_lines(found: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, found))


def keyed(found: list[dict[str, Any]]) -> str:
    return json.dumps({str(number): row for number, row in enumerate(found)})


def table(found: list[dict[str, Any]]) -> str:
    text, columns = io.StringIO(), list(dict.fromkeys(name for row in found for name in row))
    csv.writer(text).writerows([columns, *([row.get(name) for name in columns] for row in found)])
    return text.getvalue()


def pieces_of(text: str) -> st.SearchStrategy[bytes]:
    marks = [
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b'"',
        b"\\",
        b"\n",
        b"\r",
        b"\t",
        b";",
        b"\0",
        b"\xff",
        b"PAR1",
        b"PK\3\4",
    ]
    return st.lists(st.sampled_from([*marks, b"\xef\xbb\xbf", b"\x1f\x8b", *text.encode().split()]), max_size=30).map(
        b"".join
    )


def asked(path: Path, columns: Columns = Columns(), **rule: Any) -> None:
    """Make prompts of the rows, as a run does."""
    questions = JsonLines(path, columns, **rule).questions(SkipBadRows(limit=0.9))
    prompts_of([questions[row] for row in range(len(questions))])


READERS: dict[str, Callable[[Path], object]] = {
    "outputs": read_outputs,
    "outputs of 0 to 100": lambda path: read_outputs(path, Request(scale=DeclaredScale(100))),
    "questions": asked,
    "questions with letters": lambda path: asked(path, Columns(options="options", images=()), rule=ByLetter()),
    "questions with places": lambda path: asked(
        path, Columns(options="options", images=("image", "images"), question_id=("id", "dataset")), rule=ByIndex()
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def assert_read_or_refused(read: Callable[[Path], object], path: Path) -> None:
    try:
        read(path)
    except UserError as refusal:
        assert path.name in str(refusal) or "`" in str(refusal)  # noqa: PT017 - what is not refused is read


@pytest.mark.parametrize("reader", READERS)
@given(
    found=rows, shape=st.sampled_from([json_lines, json.dumps, keyed, table]), suffix=st.sampled_from(["json", "jsonl"])
)
def test_rows_of_any_cells_are_read_or_refused(
    folder: Path, reader: str, found: list[dict[str, Any]], shape: Callable[[Any], str], suffix: str
) -> None:
    path = folder / f"rows.{suffix}"
    path.write_bytes(shape(found).encode("utf-8", "surrogatepass"))

    assert_read_or_refused(READERS[reader], path)


@pytest.mark.parametrize("reader", READERS)
@given(content=st.binary(max_size=60) | pieces_of('"id" "question" 1 0.5 "correct" "overall" correct overall NaN -'))
def test_any_bytes_are_read_or_refused(folder: Path, reader: str, content: bytes) -> None:
    path = folder / "bytes.jsonl"
    path.write_bytes(content)

    assert_read_or_refused(READERS[reader], path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "7" * 5000, '{"correct": ' + "9" * 5000 + "}"])
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_nests_and_numbers_that_python_does_not_read_are_refused(
    folder: Path, reader: str, content: str, suffix: str
) -> None:
    path = folder / f"deep.{suffix}"
    path.write_text(content)

    with pytest.raises(UserError):
        READERS[reader](path)


def workbook() -> bytes:
    book, content = Workbook(), io.BytesIO()
    for row in (["confidence", "correct"], [0.5, 1], [0.25, 0]):
        book.active.append(row)
    book.save(content)
    return content.getvalue()


def inspect_log() -> bytes:
    content = io.BytesIO()
    sample = {"id": 1, "epoch": 1, "output": {"completion": "7"}, "scores": {"match": {"value": "C"}}, "metadata": {}}
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({"eval": {"task": "t"}}))
        archive.writestr("samples/1_epoch_1.json", json.dumps(sample))
    return content.getvalue()


def parquet() -> bytes:
    content = io.BytesIO()
    columns = {"confidence": [0.5, 0.25], "correct": [1, 0], "question": ["a", "b"], "answer": ["7", "8"]}
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


PACKED = {"xlsx": workbook(), "eval": inspect_log(), "parquet": parquet()}


@pytest.mark.parametrize("kind", PACKED)
@settings(max_examples=max(20, settings.default.max_examples // 5))  # a workbook takes as long as ten other files
@given(data=st.data())
def test_whatever_bytes_of_a_packed_file_are_damaged_it_is_read_or_refused(
    folder: Path, kind: str, data: st.DataObject
) -> None:
    content = bytearray(PACKED[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = folder / f"packed.{kind}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])

    assert_read_or_refused(read_outputs, path)


@pytest.mark.parametrize("place", ["7" * 400, "7" * 5000, "7.5", "-1", "2"])
def test_a_place_that_no_option_has_is_a_bad_row(folder: Path, place: str) -> None:
    path = folder / "places.jsonl"
    path.write_text(json.dumps(WHOLE | {"question": "Which?", "answer": place}))

    with pytest.raises(UserError, match="row 1: the answer must be the place of one of 2 options"):
        asked(path, Columns(options="options", images=()), rule=ByIndex())


@pytest.mark.parametrize("options", ["-" * 50_000 + "1", "1+" * 50_000 + "1", "(" * 5000, "[" * 300])
def test_options_nested_deep_are_a_bad_row(folder: Path, options: str) -> None:
    path = folder / "options.jsonl"
    path.write_text(json.dumps(WHOLE | {"question": "Which?", "options": options}))

    with pytest.raises(UserError, match="row 1: (options must be a list|lists or objects must not be nested)"):
        asked(path, Columns(options="options", images=()), rule=ByIndex())


def test_a_fault_of_ours_is_no_bad_row(folder: Path) -> None:
    class Broken(AsWritten):
        def __call__(self, *given: Any) -> AnswerKey:
            return super().__call__(*[one for one, _ in zip(given, "abcd", strict=True)])

    path = folder / "sound.jsonl"
    path.write_text(json.dumps(WHOLE | {"question": "What?"}))

    with pytest.raises(ValueError, match="argument 2 is longer") as fault:
        asked(path, Columns(images=()), rule=Broken())
    assert not isinstance(fault.value, UserError)


@pytest.mark.parametrize("encoded", [lambda text: gzip.compress(text.encode()), lambda text: text.encode("utf-16")])
@pytest.mark.parametrize("reader", [read_outputs, lambda path: Csv(path, Columns(images=())).questions(SkipBadRows())])
def test_a_compressed_table_and_one_in_utf_16_are_refused_with_the_way_out(
    folder: Path, encoded: Callable[[str], bytes], reader: Callable[[Path], object]
) -> None:
    path = folder / "table.csv"
    path.write_bytes(encoded("question,answer,confidence,correct\nq,7,0.5,1\n"))

    with pytest.raises(UserError, match=r"table\.csv .*UTF-8"):
        reader(path)


def test_a_cell_of_a_table_may_hold_a_large_image_in_base64(folder: Path) -> None:
    path = folder / "large.csv"
    path.write_text(f"question,answer,note\nq,7,{'x' * 200_000}\n")

    assert len(Csv(path, Columns(images=())).questions(SkipBadRows())) == 1
