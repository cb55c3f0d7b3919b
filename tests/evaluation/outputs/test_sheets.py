"""Every kind of file that holds a table, told by its content, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlcal.evaluation.outputs.sheet import Sheet, read_sheet

ROWS = [{"id": "a", "text": "x, y\n\tz", "n": 1}, {"id": "b", "text": 'a "quote"', "n": 2}]


def json_lines(path: Path) -> None:
    path.write_text("\n\n".join(json.dumps(row) for row in ROWS))


def json_array(path: Path) -> None:
    path.write_text(json.dumps(ROWS, indent=4))


def json_objects(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row, indent=2) for row in ROWS))


def json_keyed(path: Path) -> None:
    path.write_text(json.dumps({row["id"]: {name: row[name] for name in ("text", "n")} for row in ROWS}))


def json_beside_other_things(path: Path) -> None:
    path.write_text(json.dumps({"model": "m", "accuracy": 0.5, "options": {}, "rows": ROWS}))


def delimited(mark: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file, delimiter=mark, quoting=csv.QUOTE_ALL)
            writer.writerows([list(ROWS[0]), *(list(row.values()) for row in ROWS)])

    return write


def parquet(path: Path) -> None:
    images = [[{"bytes": b"\0", "path": None}]] * 2
    pq.write_table(pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]} | {"images": images}), path)


def excel(path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [list(ROWS[0]), *(list(row.values()) for row in ROWS)]:
        book.active.append(row)
    book.save(path.with_suffix(".xlsx"))
    path.with_suffix(".xlsx").rename(path)


@pytest.mark.parametrize(
    "write",
    [
        *(json_lines, json_array, json_objects, json_keyed, json_beside_other_things),
        *(delimited(","), delimited("\t"), delimited(";"), parquet, excel),
    ],
)
def test_the_same_table_is_read_from_any_kind_of_file_whatever_its_name(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "outputs.dat"
    write(path)

    sheet = read_sheet(path)

    assert list(sheet.columns) == ["id", "text", "n"]
    assert list(sheet["id"]) == ["a", "b"]
    assert list(sheet["text"]) == [row["text"] for row in ROWS]
    assert [int(cell) for cell in sheet["n"]] == [1, 2]


@pytest.mark.parametrize(
    ("write", "places"),
    [(json_lines, [1, 3]), (json_objects, [1, 6]), (json_keyed, ["a", "b"]), (delimited(","), [1, 2])],
)
def test_rows_of_json_are_named_by_line_or_key_and_others_from_the_header(
    tmp_path: Path, write: Callable[[Path], None], places: list[int | str]
) -> None:
    write(tmp_path / "a")

    sheet = read_sheet(tmp_path / "a")

    assert list(sheet.rows) == places
    assert str(sheet.refusal(1, "n", "bad.")) == f"{tmp_path / 'a'}, row {places[1]}, column `n`: bad."


def test_a_log_of_one_line_is_a_row_whatever_lists_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"doc_id": 0, "token_counts": [{"output_tokens": 9}]}\n')

    assert list(read_sheet(path).columns) == ["doc_id", "token_counts"]


def test_parquet_keeps_lists_and_objects_and_leaves_images_where_they_are(tmp_path: Path) -> None:
    row = {"stated": [0.5], "average": {"score": 1.0}, "image": {"bytes": b"x", "path": "p"}, "images": [b"x"], "n": 1}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a")

    sheet = read_sheet(tmp_path / "a")

    assert list(sheet.columns) == ["stated", "average", "n"]
    assert (sheet["stated"], sheet["average.score"]) == ([[0.5]], [1.0])


def test_a_column_that_some_rows_lack_is_empty_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2, "b": 3}\n')

    assert list(read_sheet(path)["b"]) == [None, 3]


def test_a_dot_reaches_into_an_object() -> None:
    sheet = Sheet(Path("f"), {"average": [{"score": 1.0}, {"other": 2}, None], "a.b": [7, 8, 9]}, (1, 2, 3))

    assert sheet["average.score"] == [1.0, None, None]
    assert sheet["a.b"] == [7, 8, 9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no table that can be read"),
        (b"\x89PNG\r\n\0\0", "holds no table that can be read"),
        (b"just words", "holds no table that can be read"),
        (b"PK\x03\x04 and nothing else", "holds no table that can be read"),
        (b"PAR1 and nothing else", "damaged parquet"),
        (b"a,b\n", "holds no row"),
        (b"[]", "holds no row"),
        (b'{"a": 1}\n{"a": ', "row 2: not JSON"),
        (b'{"a": 1}\n[1]\n', "row 2: a JSON object is asked for; got list"),
        (b"[1]", "row 1: a JSON object is asked for; got int"),
        (b'[{"a": 1}', "not JSON"),
        (b"a,b\n1,2\n3\n", "row 2: 2 cells are asked for, one per column; got 1"),
        (b"a,a\n1,2\n", "column `a` stands twice"),
        (b'{"a": "\xff"}', "not UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line_that_names_the_file(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "outputs"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=message) as refused:
        read_sheet(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere.csv is not there"):
        read_sheet(tmp_path / "nowhere.csv")


def test_a_column_that_is_not_there_is_refused_with_those_that_are() -> None:
    columns: dict[str, list[Any]] = {"a": [1], "b": [2]}

    with pytest.raises(ValueError, match="column `c` is not there; it has a, b"):
        Sheet(Path("f"), columns, (1,))["c"]
