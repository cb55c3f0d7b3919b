"""A benchmark by its name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from vlcal.data.bad_rows import BadRows
from vlcal.data.benchmarks.catalogue import BENCHMARKS
from vlcal.data.benchmarks.spec import BenchmarkSpec
from vlcal.data.questions import Questions, RunCheck
from vlcal.data.records import Columns, RowReader
from vlcal.data.sources import Source, held_out
from vlcal.data.tables import JoinedTable, Table, configurations, hub_table, json_table, parquet_table
from vlcal.errors import UserError

FILES: dict[str, Callable[[Path], Table]] = {".parquet": parquet_table, ".jsonl": json_table, ".json": json_table}


class Benchmark(Source):
    """Questions of a published benchmark, with its own rule of what is right.

    Args:
        name: Name in the catalogue, such as mathvista, mmmu or pope.
        path: Another copy: an id on the hub, a folder that is laid out as one, a parquet or a JSON file. None takes the
            published one.
        split: Another split. None takes the one that is usually judged.
        config: Another configuration. None takes the usual ones, or the only one that the copy has.
        limit: Most questions, spread evenly over the benchmark. None takes all.
    """

    def __init__(
        self,
        name: str,
        path: str | None = None,
        split: str | None = None,
        config: str | None = None,
        limit: int | None = None,
    ) -> None:
        self.spec = spec_of(name)
        if limit is not None and limit < 1:
            raise UserError(f"`limit` must be at least 1 question, or None for all; got {limit}.")
        self.name = name
        self.path = self.spec.path if path is None else path
        self.split = self.spec.split if split is None else split
        self.config = config
        self.limit = limit

    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions that are judged."""
        table = self.table()
        spec = self.spec
        reader = RowReader(self.name, layout_of(table, spec), spec.rule, spec.ask, spec.least_images)
        found = Questions(table, reader, bad_rows, check, spec.wanted, spec.known_bad)
        found = held_out(found, spec.held_out) if spec.held_out else found
        count = len(found) if self.limit is None else min(self.limit, len(found))
        return found.select([place * len(found) // count for place in range(count)])

    def table(self) -> Table:
        """The rows as they are kept.

        Raises:
            MissingTable: If they are not here and cannot be had.
        """
        path = Path(self.path)
        if path.suffix in FILES:
            return FILES[path.suffix](path)
        if path.is_file():
            raise UserError(f"`path` must end in {', '.join(FILES)} where it is a file; got {path}.")
        tables = [hub_table(self.path, config, self.split) for config in self._configs()]
        return tables[0] if len(tables) == 1 else JoinedTable(self.path, tables)

    def _configs(self) -> tuple[str | None, ...]:
        """The configurations that are joined; a copy without the usual ones must have a single one."""
        if self.config is not None:
            return (self.config,)
        if self.path == self.spec.path or self.spec.names == (None,):
            return self.spec.names
        present = configurations(self.path)
        if set(self.spec.names) <= set(present):
            return self.spec.names
        if len(present) > 1:
            raise UserError(
                f"`config` must name one of the configurations of {self.path}, which are {', '.join(present)}; "
                f"`{self.name}` is usually {', '.join(map(str, self.spec.names))}."
            )
        return (None,)


def spec_of(name: str) -> BenchmarkSpec:
    """The benchmark of that name.

    Raises:
        UserError: If there is none.
    """
    if name not in BENCHMARKS:
        raise UserError(
            f"`name` must be one of {', '.join(BENCHMARKS)}; got {name!r}. Any other data set is a `vlcal.data.Hub`, "
            "`Parquet` or `JsonLines` with its columns."
        )
    return BENCHMARKS[name]


def layout_of(table: Table, spec: BenchmarkSpec) -> Columns:
    """The first layout whose columns the table has; the usual one where no row can be read, which is then refused.

    Raises:
        UserError: If it has those of none.
    """
    present = _first_columns(table)
    found = next((layout for layout in spec.layouts if present.issuperset(layout.names)), None)
    if found is None and present:
        layouts = ", or ".join(", ".join(layout.names) for layout in spec.layouts)
        raise UserError(
            f"{table.name} must have the columns of a published copy, {layouts}; it has {', '.join(sorted(present))}. "
            "Rename them, or read it with `vlcal.data.JsonLines`, `Parquet` or `Hub`, which take `columns`."
        )
    return found or spec.layouts[0]


def _first_columns(table: Table) -> set[str]:
    """The columns of the first row that can be read; those that cannot are reported when every row is checked."""
    for index in range(len(table)):
        with contextlib.suppress(ValueError):
            return set(table[index])
    return set()
