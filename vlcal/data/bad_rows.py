"""What happens to rows that are not what they should be."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

logger = logging.getLogger(__name__)

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
        """Nothing, if the other rows are to be used.

        Args:
            table: Name of the table.
            bad: The bad rows.
            total: Rows of the table, good and bad.

        Raises:
            ValueError: If the table is not to be used.
        """


class RefuseBadRows(BadRows):
    """Any bad row ends the command with one error that names the first few."""

    def __call__(self, table: str, bad: Sequence[BadRow], total: int) -> None:
        """Refuse, if there are any."""
        if bad:
            raise ValueError(
                f"{_listed(bad)}. {len(bad)} of {total} rows of {table} cannot be used. Repair them, or set `bad_rows` "
                "to `vlcal.data.SkipBadRows` to go on without them."
            )


class SkipBadRows(BadRows):
    """Bad rows are named in the log and left out, up to a share of the table.

    Args:
        limit: Largest share of bad rows, in [0, 1]; more than that is no accident and refused.
    """

    def __init__(self, limit: float = 0.01) -> None:
        if not 0 <= limit <= 1:
            raise ValueError(f"`limit` must be a share of the rows in [0, 1]; got {limit}.")
        self.limit = limit

    def __call__(self, table: str, bad: Sequence[BadRow], total: int) -> None:
        """Log all, and refuse where they are too many."""
        if len(bad) > self.limit * total or (bad and len(bad) == total):
            raise ValueError(
                f"{_listed(bad)}. {len(bad)} of {total} rows of {table} cannot be used, more than the `limit` of "
                f"{self.limit:g}, and at least one must be left. Repair them or raise the limit."
            )
        for row in bad:
            logger.warning("Left out: %s", row)
        if bad:
            logger.warning("%s: %d of %d rows are left out.", table, len(bad), total)


def _listed(bad: Sequence[BadRow]) -> str:
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return "; ".join(str(row).rstrip(".") for row in bad[:SHOWN]) + more
