"""Tables in files: what stands in which column and row, whatever the file is."""

from __future__ import annotations

import csv
import json
import re
import struct
import sys
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vlcal.errors import UserError
from vlcal.json_rows import Place, json_rows

HEAD = 4096  # bytes that are enough to tell what a file is
DELIMITERS = "\t,;"
# What the readers of archives, XML and parquet raise for a damaged file, whichever of its bytes are hit.
DAMAGED = (
    *(OSError, EOFError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),
)


class NotOutputs(UserError):  # noqa: N818 - a kind of file, which a folder leaves out and goes on
    """A file without outputs of a model: no table, or a table of something else."""


@dataclass(frozen=True)
class Sheet:
    """The columns of a file, as plain Python values; None where a row has none.

    Args:
        path: The file, for messages.
        columns: Values of each column, one per row.
        rows: The place of each row: its line or key in JSON, otherwise counted from 1 below the header. Rows
            that another rank wrote name their file too.
    """

    path: Path
    columns: Mapping[str, Sequence[Any]]
    rows: Sequence[Place]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Sequence[Any]:
        """The cells of a column, or of a field of the JSON objects in it: `average.score`."""
        column, *inside = [name] if name in self.columns else name.split(".")
        if column not in self.columns:
            raise NotOutputs(f"{self.path}: column `{name}` is not there; it has {', '.join(self.columns)}.")
        cells = self.columns[column]
        for part in inside:
            cells = [cell.get(part) if isinstance(cell, Mapping) else None for cell in cells]
        return cells

    def where(self, name: str, value: str) -> Sheet:
        """The rows with that value in a column."""
        kept = [row for row, cell in enumerate(self[name]) if str(cell) == value]
        columns = {column: [cells[row] for row in kept] for column, cells in self.columns.items()}
        return Sheet(self.path, columns, [self.rows[row] for row in kept])

    def refusal(self, row: int, name: str, why: str) -> UserError:
        """The error that names file, row and column."""
        return UserError(f"{self.path}, row {self.rows[row]}, column `{name}`: {why}")


class SheetFormat(ABC):
    """A kind of file that holds a table, told by its content and never by its name."""

    @abstractmethod
    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether the file is of this kind."""

    @abstractmethod
    def read(self, path: Path) -> Sheet:
        """The whole table.

        Raises:
            UserError: If it is damaged; names the row.
        """


class Parquet(SheetFormat):
    """Parquet; columns with binary content, such as images, are left where they are."""

    def recognises(self, path: Path, head: bytes) -> bool:
        return head.startswith(b"PAR1")

    def read(self, path: Path) -> Sheet:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise UserError(f"{path}: reading parquet needs pyarrow. Install it: pip install pyarrow") from error

        try:
            plain = [field.name for field in pq.read_schema(path) if not _holds_binary(field.type)]
            table = pq.read_table(path, columns=plain)
        except (pa.ArrowException, *DAMAGED) as error:
            raise UserError(f"{path}: damaged parquet: {error}. Write the file again.") from error
        return Sheet(path, {name: table.column(name).to_pylist() for name in plain}, range(1, table.num_rows + 1))


class Excel(SheetFormat):
    """The first sheet of an Excel workbook."""

    def recognises(self, path: Path, head: bytes) -> bool:
        return "xl/workbook.xml" in _members(path)

    def read(self, path: Path) -> Sheet:
        try:
            from openpyxl import load_workbook
        except ImportError as error:
            raise UserError(f'{path}: reading Excel needs openpyxl. Install it: pip install "vlcal[excel]"') from error

        try:
            with path.open("rb") as file:  # given a path, it would judge by the suffix
                workbook = load_workbook(file, read_only=True, data_only=True)
                rows = [list(row) for row in workbook.worksheets[0].iter_rows(values_only=True)]
        except DAMAGED as error:
            raise UserError(f"{path}: damaged workbook: {error}. Write the file again.") from error
        rows = [row for row in rows if any(cell is not None for cell in row)]
        if not rows:
            return Sheet(path, {}, ())
        return _from_cells(path, [str(name) for name in rows[0]], rows[1:])


class InspectLog(SheetFormat):
    """A log of Inspect: a zip archive of JSON files, `.eval`, or one JSON object; a row per sample and epoch."""

    KEPT: ClassVar[Sequence[str]] = ("id", "epoch", "input", "target", "output", "scores", "metadata")
    """What is read of a sample: messages and events, the bulk of it, are left."""

    def recognises(self, path: Path, head: bytes) -> bool:
        if zipfile.is_zipfile(path):
            return any(name.startswith("samples/") for name in _members(path))
        return re.match(rb'\s*\{\s*"version"\s*:', head) is not None and b'"eval"' in head

    def read(self, path: Path) -> Sheet:
        try:
            about, samples = _archived(path) if zipfile.is_zipfile(path) else _in_one_object(path)
            rows = [{"task": about["task"], **{name: sample.get(name) for name in self.KEPT}} for sample in samples]
        except DAMAGED as error:
            raise UserError(
                f"{path}: no log that Inspect wrote to its end: {type(error).__name__}: {error}. Have Inspect write it "
                "again: inspect log convert --to json."
            ) from error
        columns = {name: [row[name] for row in rows] for name in ("task", *self.KEPT)}
        return Sheet(path, columns, [f"{row['id']} of epoch {row['epoch']}" for row in rows])


class Json(SheetFormat):
    """JSON Lines, an array of objects, or an object that holds them."""

    def recognises(self, path: Path, head: bytes) -> bool:
        return head.lstrip()[:1] in (b"{", b"[")

    def read(self, path: Path) -> Sheet:
        found = json_rows(path)
        names = dict.fromkeys(name for _, row in found for name in row)
        columns = {name: [row.get(name) for _, row in found] for name in names}
        return Sheet(path, columns, [place for place, _ in found])


class Delimited(SheetFormat):
    """Text with a header, separated by tabs, commas or semicolons: whichever the header has most of."""

    def recognises(self, path: Path, head: bytes) -> bool:
        header = head.decode("utf-8", errors="ignore").splitlines()
        return b"\0" not in head and bool(header) and any(mark in header[0] for mark in DELIMITERS)

    def read(self, path: Path) -> Sheet:
        csv.field_size_limit(sys.maxsize)  # a response may be longer than the 128 KiB that csv allows
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            rows = list(csv.reader(file, delimiter=max(DELIMITERS, key=header.count)))
        return _from_cells(path, rows[0], [row for row in rows[1:] if row])


FORMATS: tuple[SheetFormat, ...] = (Parquet(), Excel(), InspectLog(), Json(), Delimited())


def read_sheet(path: Path) -> Sheet:
    """The table in a file: JSON, CSV, TSV, parquet, Excel or a log of Inspect.

    Raises:
        NotOutputs: If the file is empty or something else.
        UserError: If it is missing or damaged; names file and row.
    """
    if not path.is_file():
        raise UserError(f"`files` must be files with one row per response, or folders of them; {path} is not there.")
    with path.open("rb") as file:
        head = file.read(HEAD).removeprefix(b"\xef\xbb\xbf")
    found = next((kind for kind in FORMATS if kind.recognises(path, head)), None)
    if found is None:
        raise NotOutputs(
            f"{path} holds no table that can be read. Give JSON Lines, JSON with a list of objects, CSV or TSV in "
            "UTF-8 and not compressed, parquet or Excel."
        )
    try:
        sheet = found.read(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}. Write the file again as UTF-8.") from error
    if not len(sheet):
        raise NotOutputs(f"{path} holds no row, so there is nothing to score.")
    return sheet


def _members(path: Path) -> list[str]:
    """The names in an archive; none where the file is no sound one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except DAMAGED:
        return []


def _archived(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """What a log in an archive says about its evaluation, and its samples."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        header = next(name for name in ("header.json", "_journal/start.json", "start.json", *names) if name in names)
        samples = [json.loads(archive.read(name)) for name in names if name.startswith("samples/")]
        return json.loads(archive.read(header))["eval"], samples


def _in_one_object(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    log = json.loads(path.read_text(encoding="utf-8-sig"))
    return log["eval"], log.get("samples") or []


def _from_cells(path: Path, names: list[str], rows: Sequence[Sequence[Any]]) -> Sheet:
    names = [name.strip() for name in names]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: column `{twice[0]}` stands twice in the header. Rename one of them.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise UserError(f"{path}, row {number}: {len(names)} cells are asked for, one per column; got {len(row)}.")
    return Sheet(path, {name: [row[at] for row in rows] for at, name in enumerate(names)}, range(1, len(rows) + 1))


def _holds_binary(kind: Any) -> bool:
    """Whether a type is binary, or a list or struct with something binary in it."""
    import pyarrow as pa

    inside = [kind.field(place).type for place in range(kind.num_fields)]
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return bool(binary) or any(map(_holds_binary, inside))
