"""A table of questions, every row of it checked before the first is used."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch.utils.data import Dataset

from vlcal.data.bad_rows import BadRow, BadRows
from vlcal.data.images import ImageSize
from vlcal.data.records import Columns, Record, RowReader
from vlcal.data.rules import IfAnswered
from vlcal.data.tables import Table
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.verifiers import Verifier

Predicate = Callable[[Mapping[str, Any]], bool]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunCheck:
    """What a run asks of a record that is sound by itself.

    Args:
        image_size: Bounds on its images.
        verifier: Judges answers to records that bring no verifier of their own; None where the run judges none.
    """

    image_size: ImageSize = field(default_factory=ImageSize)
    verifier: Verifier | None = None

    def __call__(self, record: Record) -> None:
        """Nothing, if the run can use the record.

        Raises:
            UserError: If an image is too long for its width, or the target cannot be judged.
        """
        for width, height in record.sizes:
            self.image_size.check(width, height)
        verifier = record.verifier or self.verifier
        if verifier is not None:
            verifier.check(record.target)

    def reader(self, reader: RowReader) -> RowReader:
        """How the run reads rows."""
        return reader

    def needed(self, columns: Columns) -> tuple[str, ...]:
        """The columns that a table must have."""
        return columns.names


class PredictionCheck(RunCheck):
    """What a prediction asks of a record: no answer."""

    def reader(self, reader: RowReader) -> RowReader:
        """Rows without an answer are read as well."""
        return replace(reader, rule=IfAnswered(reader.rule))

    def needed(self, columns: Columns) -> tuple[str, ...]:
        """All but that of the answer."""
        return tuple(name for name in columns.names if name != columns.answer)


class Questions(Dataset[Record]):
    """The good rows of a table as records. Their images are found, but not decoded, and not kept in memory.

    Args:
        table: The rows.
        reader: Makes records of them.
        bad_rows: What happens to rows that are not what they should be.
        check: What the run asks of every record.
        wanted: Whether a row belongs to the questions.
        known_bad: Whether a row is published without what a question needs; such rows are left out whatever
            `bad_rows` says.

    Raises:
        UserError: If there is no row, a column that is nowhere in the table, or bad rows that are refused.
    """

    @fresh_defaults
    def __init__(
        self,
        table: Table,
        reader: RowReader,
        bad_rows: BadRows,
        check: RunCheck = RunCheck(),
        wanted: Predicate = lambda row: True,
        known_bad: Predicate = lambda row: False,
    ) -> None:
        self.table = table
        self.reader = check.reader(reader)
        self.rows: list[int] = []
        self.texts: list[str] = []
        self.left_out: list[BadRow] = []
        self.imageless = 0
        bad = self._check(check, wanted, known_bad)
        total = len(self.rows) + len(self.left_out) + len(bad)
        bad_rows(table.name, bad, total)
        self.left_out += bad
        for row in self.left_out:
            logger.warning("Left out: %s", row)
        if self.left_out:
            logger.warning("%s: %d of %d rows are left out.", table.name, len(self.left_out), total)
        if self.imageless and self.reader.columns.images:
            logger.warning("%s: %d of %d rows have no image.", table.name, self.imageless, len(self.rows))
        if not self.rows:
            raise UserError(f"{table.name} holds no row to ask about. Write one question a row.")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Record:
        row = self.rows[index]
        return self.reader(self.table[row], row + 1, self.table.place(row), self.table.folder)

    def select(self, indices: Sequence[int]) -> Questions:
        """The questions at these places, in this order."""
        chosen = copy.copy(self)
        chosen.rows = [self.rows[index] for index in indices]
        chosen.texts = [self.texts[index] for index in indices]
        return chosen

    def _check(self, check: RunCheck, wanted: Predicate, known_bad: Predicate) -> list[BadRow]:
        """Read every row once; keep the good ones, note those that are known to be bad, return the other bad ones."""
        bad: list[BadRow] = []
        seen: set[str] = set()
        for index in range(len(self.table)):
            place = self.table.place(index)
            row: Mapping[str, Any] = {}
            try:
                row = self.table[index]
                seen.update(row)
                if not wanted(row):
                    continue
                record = self.reader(row, index + 1, place, self.table.folder)
                check(record)
            except RecursionError:
                bad.append(BadRow(place, "lists or objects must not be nested hundreds deep"))
            except UserError as error:
                (self.left_out if known_bad(row) else bad).append(BadRow(place, str(error)))
            else:
                self.rows.append(index)
                self.texts.append(record.question)
                self.imageless += not record.images
        if seen:
            check_columns(check.needed(self.reader.columns), seen, self.table.name)
        return bad


def check_columns(needed: Sequence[str], present: set[str], table: str) -> None:
    """Refuse column names that no row of a table has: a typo there would pass for a table without images.

    Raises:
        UserError: If there are any.
    """
    absent = [name for name in needed if name not in present]
    if absent:
        raise UserError(
            f"`columns` must name columns of {table}; it has {', '.join(sorted(present))}, but no "
            f"{', '.join(absent)}. Name the right ones; `images: []` is for questions without images."
        )
