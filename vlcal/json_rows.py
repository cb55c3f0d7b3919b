"""The rows of a JSON file, in each of the shapes in which people write rows, and the text of a cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlcal.errors import UserError

Place = int | str
"""Where a row stands: its line, its place in a list counted from 1, or its key in an object."""

_CONTENT = re.compile(r"\S")


def json_rows(path: Path) -> list[tuple[Place, dict[str, Any]]]:
    """Every row with its place.

    Rows are JSON objects: one a line, or one after another with any indentation; the items of an array; the values of
    an object, whose keys become `id` where a row has none; the only list of objects in an object.

    Raises:
        UserError: If the file is not UTF-8 or not JSON, or a row is no object; names file and row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}. Write the file again as UTF-8.") from error
    values = list(_values(path, text))
    rows = _rows_within(*values[0]) if len(values) == 1 else values
    for place, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {place}: a JSON object is asked for; got {type(row).__name__}.")
    return rows


def cell_text(cell: object) -> str:
    """A cell as a text, without the white space around it; a whole number without decimals.

    Tables hold whole numbers as floats where one cell of the column is empty: 7.0 is the 7 of another file.

    >>> cell_text(7.0), cell_text(" 7 "), cell_text(0.5)
    ('7', '7', '0.5')
    """
    return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()


def _values(path: Path, text: str) -> Iterator[tuple[Place, Any]]:
    """The JSON values of a text, each with the line that it begins on."""
    decoder, end, line = json.JSONDecoder(), 0, 1
    while found := _CONTENT.search(text, end):
        start = found.start()
        line += text.count("\n", end, start)
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:  # no JSON, a number of thousands of digits, or nested too deep
            rule = "Write one JSON object a line, an array of objects, or an object of them"
            raise UserError(f"{path}, row {line}: not JSON: {error}. {rule}.") from error
        yield line, value
        line += text.count("\n", start, end)


def _rows_within(place: Place, value: Any) -> list[tuple[Place, Any]]:
    """The rows in the only value of a file."""
    if isinstance(value, list):
        return list(enumerate(value, 1))
    if not isinstance(value, dict):
        return [(place, value)]
    if value and all(isinstance(row, dict) for row in value.values()):
        return [(key, {"id": key} | row) for key, row in value.items()]
    lists = [cell for cell in value.values() if _is_list_of_objects(cell)]
    # A log of one line also holds lists of objects, such as token counts, but one object in each.
    if len(lists) == 1 and (len(value) == 1 or len(lists[0]) > 1):
        return list(enumerate(lists[0], 1))
    return [(place, value)]


def _is_list_of_objects(cell: Any) -> bool:
    return isinstance(cell, list) and bool(cell) and all(isinstance(item, dict) for item in cell)
