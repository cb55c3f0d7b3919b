"""Whatever stands in a file of rows: it is read, or refused by an error that names the file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcal.data import ByIndex, ByLetter, Columns, JsonLines, SkipBadRows
from vlcal.data.records import prompts_of
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
