"""What happens to rows that are not what they should be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from vlcal.errors import UserError

SHOWN = 3  # bad rows that an error names; the log of those left out names all


class BadRow(NamedTuple):
    """Where a row stands and what is wrong with it."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class BadRows(ABC):
    """What becomes of a table with bad rows."""

    @abstractmethod
    def __call__(self, table: str, bad: Sequence[BadRow], total: int) -> None:
        """Nothing, if the other rows are to be used; they are then named in the log.

        Args:
            table: Name of the table.
            bad: The bad rows.
            total: Rows of the table, good and bad.

        Raises:
            UserError: If the table is not to be used.
        """


class RefuseBadRows(BadRows):
    """Any bad row ends the command with one error that names the first few."""

    def __call__(self, table: str, bad: Sequence[BadRow], total: int) -> None:
        """Refuse, if there are any."""
        if bad:
            raise UserError(
                f"{_listed(bad)}. {len(bad)} of {total} rows of {table} cannot be used. Repair them, or set `bad_rows` "
                "to `vlcal.data.SkipBadRows` to go on without them."
            )


class SkipBadRows(BadRows):
    """Bad rows are left out, up to a share of the table.

    Args:
        limit: Largest share of bad rows, in [0, 1]; more than that is no accident and refused. Above 0 it allows one
            row, however small the table.
    """

    def __init__(self, limit: float = 0.01) -> None:
        if not 0 <= limit <= 1:
            raise UserError(f"`limit` must be a share of the rows in [0, 1]; got {limit}.")
        self.limit = limit

    def __call__(self, table: str, bad: Sequence[BadRow], total: int) -> None:
        """Refuse where they are too many."""
        if len(bad) > max(self.limit > 0, self.limit * total) or (bad and len(bad) == total):
            raise UserError(
                f"{_listed(bad)}. {len(bad)} of {total} rows of {table} cannot be used, more than the `limit` of "
                f"{self.limit:g}, and at least one must be left. Repair them or raise the limit."
            )


def _listed(bad: Sequence[BadRow]) -> str:
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return "; ".join(str(row).rstrip(".") for row in bad[:SHOWN]) + more
