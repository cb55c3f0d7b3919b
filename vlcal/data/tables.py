"""Rows of files and hub data sets, read when they are asked for."""

from __future__ import annotations

import bisect
import csv
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlcal.errors import UserError
from vlcal.json_rows import json_rows

if TYPE_CHECKING:
    from datasets import Dataset


class MissingTable(UserError):  # noqa: N818 - it is a state of the world, which a suite reports and goes on
    """There is no such table here, nor can it be had."""


class Table(ABC):
    """Rows, by place.

    Args:
        name: What the table is called in messages.
        folder: What the paths of images are relative to.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """One row, images undecoded.

        Raises:
            UserError: If it cannot be read as a row.
        """

    def place(self, index: int) -> str:
        """File and row, counted from 1, as messages name them."""
        return f"{self.name}, row {index + 1}"


class JsonTable(Table):
    """The lines of a JSON Lines file; in memory are their offsets only."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MissingTable(f"`path` must be a JSON file; {path} is not there.")
        super().__init__(str(path), path.parent)
        self.path = path
        self.offsets: list[tuple[int, int]] = []  # of the line, and its number: empty lines do not count as rows
        with path.open("rb") as file:
            start = 0
            for number, line in enumerate(file):
                if line.strip():
                    self.offsets.append((start, number))
                start += len(line)

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with self.path.open("rb") as file:
            file.seek(self.offsets[index][0])
            line = file.readline()
        try:
            row = json.loads(line)
        except ValueError as error:  # no JSON, or no text
            raise UserError(f"not JSON: {error}. Write one JSON object a line.") from error
        if not isinstance(row, dict):
            raise UserError(f"a JSON object is asked for; got {type(row).__name__}.")
        return row

    def place(self, index: int) -> str:
        """File and line, counted from 1."""
        return f"{self.path}, row {self.offsets[index][1] + 1}"


class JsonDocument(Table):
    """The rows of a JSON file that is not one object a line, all in memory: an array, or an object of rows."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), path.parent)
        self.rows = json_rows(path)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index][1]

    def place(self, index: int) -> str:
        """File and line, place in the array or key."""
        return f"{self.name}, row {self.rows[index][0]}"


class CsvTable(Table):
    """The rows of a table in text, all in memory; cells are texts, and what a short row lacks is None.

    Args:
        path: The file, in UTF-8, its first row naming the columns.
        delimiter: Between cells.

    Raises:
        UserError: If it is not UTF-8, names a column twice, or has a row with more cells than names.
    """

    def __init__(self, path: Path, delimiter: str) -> None:
        super().__init__(str(path), path.parent)
        csv.field_size_limit(2**31 - 1)  # an image in base64 is longer than the 128 KiB that csv allows
        self.rows: dict[int, dict[str, Any]] = {}  # by the line on which each ends
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, delimiter=delimiter, strict=True)
                names = reader.fieldnames or []
                if twice := sorted({name for name in names if names.count(name) > 1}):
                    raise UserError(f"{path}: the first row must name each column once; got `{twice[0]}` twice.")
                for row in reader:
                    if None in row:
                        raise UserError(f"{path}, row {reader.line_num}: more cells than the {len(names)} names above.")
                    self.rows[reader.line_num] = dict(row)
            self.lines = list(self.rows)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} cannot be read as a table: {error}. Unpack it, or write it in UTF-8.") from error

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[self.lines[index]]

    def place(self, index: int) -> str:
        """File and line, counted from 1; that of the names is 1."""
        return f"{self.name}, row {self.lines[index]}"


class ArrowTable(Table):
    """Rows that the `datasets` library mapped into memory."""

    def __init__(self, name: str, folder: Path, dataset: Dataset) -> None:
        super().__init__(name, folder)
        # As Arrow, an image is the bytes it was stored as: nothing is decoded before its batch is made.
        self.dataset = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = self.dataset[index].to_pylist()[0]
        return row


class JoinedTable(Table):
    """Several tables, one after the other; each names its own rows."""

    def __init__(self, name: str, tables: Sequence[Table]) -> None:
        if not tables:
            raise UserError("`tables` must hold at least one table; got none.")
        super().__init__(name, tables[0].folder)
        self.tables = tuple(tables)
        self.ends = list(accumulate(len(table) for table in tables))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        table, at = self._found(index)
        return table[at]

    def place(self, index: int) -> str:
        """File and row within it."""
        table, at = self._found(index)
        return table.place(at)

    def _found(self, index: int) -> tuple[Table, int]:
        owner = bisect.bisect_right(self.ends, index)
        return self.tables[owner], index - (self.ends[owner - 1] if owner else 0)


def json_table(path: Path) -> Table:
    """The rows of a JSON file: one object a line, or any other shape that `json_rows` reads.

    Raises:
        MissingTable: If it is not there.
        UserError: If it is not one object a line and cannot be read as a whole either.
    """
    if path.suffix == ".jsonl" or not path.is_file():
        return JsonTable(path)
    with path.open("rb") as file:
        first, second = [*islice(filter(bytes.strip, file), 2), b"", b""][:2]
    return JsonTable(path) if not first or (second and _is_object(first)) else JsonDocument(path)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def csv_table(path: Path) -> Table:
    """The rows of a CSV file; of a TSV file where its name ends so.

    Raises:
        MissingTable: If it is not there.
        UserError: If it cannot be read as a table.
    """
    if not path.is_file():
        raise MissingTable(f"`path` must be a CSV or TSV file; {path} is not there.")
    return CsvTable(path, "\t" if path.suffix.lower() == ".tsv" else ",")


def parquet_table(path: Path) -> Table:
    """The rows of a parquet file, or of all parquet files in and below a folder.

    Raises:
        MissingTable: If there is none.
        UserError: If one is no parquet.
    """
    from datasets import Dataset

    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise MissingTable(f"`path` must be a parquet file or a folder of them; {path} is not there or holds none.")
    folder = path if path.is_dir() else path.parent
    tables = [ArrowTable(str(file), folder, _read(Dataset, file)) for file in files]
    return tables[0] if len(tables) == 1 else JoinedTable(str(path), tables)


def _read(kind: type[Dataset], file: Path) -> Dataset:
    from datasets.exceptions import DatasetsError

    try:
        return kind.from_parquet(str(file))
    except (DatasetsError, OSError, TypeError, ValueError) as error:  # whatever of the file is damaged
        raise UserError(f"{file} cannot be read as parquet: {error.__cause__ or error}") from error


def hub_table(path: str, name: str | None, split: str, revision: str | None = None) -> Table:
    """The rows of a data set on the hub, or of a local folder that is laid out as one.

    Raises:
        MissingTable: If it is not here and cannot be had.
        UserError: If it has no such configuration or split.
    """
    from datasets import load_dataset

    label = " ".join(part for part in (path, name, split) if part)
    try:
        dataset = load_dataset(path, name, split=split, revision=revision)
    except OSError as error:
        raise _missing(path, error) from error
    except ValueError as error:
        raise UserError(f"`name` and `split` must be in {path}; {label} is not: {_first_line(error)}") from error
    return ArrowTable(label, Path(path) if Path(path).is_dir() else _caches(), dataset)


def _caches() -> Path:
    """The folder that holds whatever was fetched, images beside tables included."""
    from datasets import config
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(os.path.commonpath([config.HF_DATASETS_CACHE, HF_HUB_CACHE]))


def configurations(path: str) -> list[str]:
    """Names of the configurations of a data set on the hub or of a local folder that is laid out as one.

    Raises:
        MissingTable: If it is not here and cannot be had.
    """
    from datasets import get_dataset_config_names

    try:
        return list(get_dataset_config_names(path))
    except OSError as error:
        raise _missing(path, error) from error


def _missing(path: str, error: OSError) -> MissingTable:
    return MissingTable(
        f"`path` must be a data set on the hub or a local folder; {path} cannot be had: {_first_line(error)} "
        "Check the id and the connection, or give a local folder."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".") + "."
