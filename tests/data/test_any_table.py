"""Whatever cells a table holds, as CSV or as parquet: questions and outputs are read from it, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_any_file import WHOLE, assert_read_or_refused, rows, table
from vlcal.data import Columns, Csv, Parquet, SkipBadRows
from vlcal.data.records import prompts_of
from vlcal.data.sources import Source
from vlcal.evaluation.outputs import read_outputs

COLUMNS = Columns(images=("image", "images"), question_id=("id", "dataset"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def as_csv(found: list[dict[str, Any]], path: Path) -> None:
    path.write_bytes(table(found).encode("utf-8", "surrogatepass"))


def as_parquet(found: list[dict[str, Any]], path: Path) -> None:
    """Each column with the type that its cells share, or as text."""
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys(name for row in found for name in row):
        cells = [row.get(name) for row in found]
        try:
            column = pa.array(cells)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
            column = pa.array([None if cell is None else ascii(cell) for cell in cells])
        columns[ascii(name) if any("\ud800" <= letter <= "\udfff" for letter in name) else name] = column
    try:
        pq.write_table(pa.table(columns), path)
    except pa.ArrowException:  # a type that no file holds, such as a struct without fields
        pq.write_table(
            pa.table({name: pa.array(map(ascii, column.to_pylist())) for name, column in columns.items()}), path
        )


def asked(source: Source) -> None:
    """Make prompts of the rows, as a run does."""
    questions = source.questions(SkipBadRows(limit=0.9))
    prompts_of([questions[row] for row in range(len(questions))])


WRITERS: dict[str, Callable[[list[dict[str, Any]], Path], None]] = {"csv": as_csv, "parquet": as_parquet}
SOURCES: dict[str, Callable[[Path], Source]] = {
    "csv": lambda path: Csv(path, COLUMNS),
    "parquet": lambda path: Parquet(path, COLUMNS),
}


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=max(20, settings.default.max_examples // 2))
@given(found=rows)
def test_tables_of_any_cells_are_questions_or_refused(folder: Path, kind: str, found: list[dict[str, Any]]) -> None:
    path = folder / f"questions.{kind}"
    WRITERS[kind](found, path)

    assert_read_or_refused(lambda table: asked(SOURCES[kind](table)), path)


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=max(20, settings.default.max_examples // 2))
@given(found=rows)
def test_tables_of_any_cells_are_outputs_or_refused(folder: Path, kind: str, found: list[dict[str, Any]]) -> None:
    path = folder / f"outputs.{kind}"
    WRITERS[kind](found, path)

    assert_read_or_refused(read_outputs, path)


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=max(20, settings.default.max_examples // 2))
@given(
    stated=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=2, max_size=6),
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1), min_size=6, max_size=6
    ),
)
def test_what_a_table_states_is_what_is_scored(
    folder: Path, kind: str, stated: list[tuple[float, int]], said: list[str]
) -> None:
    path = folder / f"stated.{kind}"
    WRITERS[kind](
        [
            {"response": name, "confidence": one, "correct": right}
            for name, (one, right) in zip(names, stated, strict=False)
        ],
        path,
    )

    found = read_outputs(path)

    assert found.judged("overall").confidence.tolist() == [one for one, _ in stated]
    assert found.judged("overall").correct.tolist() == [right for _, right in stated]


def test_a_whole_table_has_no_bad_row(folder: Path) -> None:
    for kind, write in WRITERS.items():
        write([WHOLE | {"question": "What is it?"}], folder / f"whole.{kind}")
        asked(SOURCES[kind](folder / f"whole.{kind}"))
