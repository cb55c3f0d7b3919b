"""Runs to report: prediction files read back and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCES = ("overall", "visual", "reasoning")
UNIT = (*CONFIDENCES, "correct", "read_right", "reasoned_right")  # what lies in [0, 1] or is null
MOST_RUNS = 6  # more accents cannot be told apart in one figure
_SHARE = re.compile(r"(.+)\.\d+")  # what the second and later ranks of a run wrote


@dataclass(frozen=True)
class Run:
    """One prediction file with what lies beside it.

    Args:
        name: What the report calls it.
        path: The file; paths of images are relative to its folder.
        rows: One mapping per response, as it was written.
        probes: Results of probes by name, from `NAME.probes.json`; empty without that file.
        readouts: Other readouts of each response, from `NAME.readouts.jsonl`; empty without that file.
    """

    name: str
    path: Path
    rows: tuple[Mapping[str, Any], ...]
    probes: Mapping[str, Any]
    readouts: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of numbers; NaN where it is absent."""
        return np.array([np.nan if row.get(name) is None else row[name] for row in self.rows], np.float64)

    def has(self, name: str) -> bool:
        """Whether any response has that column, be it null."""
        return any(name in row for row in self.rows)

    @cached_property
    def question(self) -> NDArray[np.str_]:
        """Which question each response answers: its `question_id`, else its `id`, else its number in the file."""
        return np.array([_first_name(row, number) for number, row in enumerate(self.rows)], np.str_)

    @cached_property
    def dataset(self) -> NDArray[np.str_]:
        """The data set of each response; "all" where none is named."""
        return np.array([str(row.get("dataset") or "all") for row in self.rows], np.str_)


def load_runs(paths: Sequence[Path]) -> tuple[Run, ...]:
    """Every run that files and folders hold, in the order given.

    In a folder a file whose name begins with "before" comes first, the others by age; files without verdicts or without
    confidences are passed over. Shares that several ranks wrote (`NAME.1.jsonl`) are part of `NAME.jsonl`.

    Raises:
        ValueError: If there is nothing to report, or a row is not what PredictionWriter writes; names file and row.
    """
    files = [file for path in paths for file in (_in_folder(path) if path.is_dir() else [path])]
    if not 1 <= len(files) <= MOST_RUNS:
        raise ValueError(
            f"`runs` must be 1 to {MOST_RUNS} prediction files, so that their colours can be told apart; got "
            f"{len(files)} in {', '.join(map(str, paths)) or 'nothing'}. Name the files."
        )
    return tuple(_run(name, file) for name, file in zip(_names(files), files, strict=True))


def _run(name: str, path: Path) -> Run:
    rows = _rows(path)
    return Run(name, path, rows, _probes(path), _readouts(path, rows))


def _in_folder(folder: Path) -> list[Path]:
    files = [
        path
        for path in folder.glob("*.jsonl")
        if _owner(path) == path and any(_is_response(row) for _, row in _lines(path, stop=1))
    ]
    if not files:
        raise ValueError(
            f"`runs` must name prediction files or folders that hold some; {folder} holds none. PredictionWriter "
            "writes them."
        )
    return sorted(files, key=lambda path: (not path.name.startswith("before"), path.stat().st_mtime, path.name))


def _owner(path: Path) -> Path:
    """The file of the first rank, whose share `path` is; itself if it is nobody's share."""
    share = _SHARE.fullmatch(path.stem)
    first = path.with_name(f"{share[1]}{path.suffix}") if share else path
    return first if first.is_file() else path


def _names(files: Sequence[Path]) -> list[str]:
    """The stem of each file, with as many folders as it takes to tell it from the others."""
    for depth in range(1, 9):
        names = ["/".join([*file.absolute().parent.parts[1:], file.stem][-depth:]) for file in files]
        if len(set(names)) == len(files):
            return names
    raise ValueError(f"`runs` must be different files; got {', '.join(map(str, files))}.")


def _rows(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        raise ValueError(f"`runs` must name prediction files or folders that hold some; {path} is not there.")
    rows = [_checked(file, *line) for file in _with_shares(path) for line in _lines(file)]
    if not rows:
        raise ValueError(f"{path} holds no response, so there is nothing to report.")
    return tuple(rows)


def _with_shares(path: Path) -> list[Path]:
    """The file of the first rank, then those of the others in their order."""
    shares = [file for file in path.parent.glob(f"{path.stem}.*{path.suffix}") if _owner(file) == path != file]
    return [path, *sorted(shares, key=lambda file: int(file.stem.rpartition(".")[2]))]


def _lines(path: Path, stop: int | None = None) -> list[tuple[int, dict[str, Any]]]:
    """The first rows of a file, each with its number; all of them without `stop`."""
    found = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, row {number}: not JSON: {error}. Write one JSON object a line.") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, row {number}: a JSON object is asked for; got {type(row).__name__}.")
            found.append((number, row))
            if stop is not None and len(found) >= stop:
                break
    return found


def _checked(path: Path, number: int, row: dict[str, Any]) -> Mapping[str, Any]:
    if not _is_response(row):
        raise ValueError(
            f"{path}, row {number}: a response has `correct` and one of `{'`, `'.join(CONFIDENCES)}`; got "
            f"{', '.join(row) or 'nothing'}. `vlcal score` reads other formats."
        )
    for name in UNIT:
        value = row.get(name)
        if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= 1):
            raise ValueError(f"{path}, row {number}: `{name}` must lie in [0, 1] or be null; got {value!r}.")
    return row


def _is_response(row: Mapping[str, Any]) -> bool:
    return "correct" in row and any(name in row for name in CONFIDENCES)


def _first_name(row: Mapping[str, Any], number: int) -> str:
    names = (row.get(key) for key in ("question_id", "id"))
    return str(next((name for name in names if name is not None), f"row {number}"))


def _probes(path: Path) -> Mapping[str, Any]:
    beside = path.with_name(f"{path.stem}.probes.json")
    if not beside.is_file():
        return {}
    found = json.loads(beside.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{beside} must hold a JSON object of probe results; got {type(found).__name__}.")
    return found


def _readouts(path: Path, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, NDArray[np.float64]]:
    """The columns NAME_KIND that ReadoutWriter wrote about the same responses."""
    beside = path.with_name(f"{path.stem}.readouts.jsonl")
    if not beside.is_file():
        return {}
    found = [row for file in _with_shares(beside) for _, row in _lines(file)]
    if [row.get("id") for row in found] != [row.get("id") for row in rows]:
        raise ValueError(
            f"{beside} must hold the responses of {path.name} in the same order; got {len(found)} rows for "
            f"{len(rows)}, or other ids. Write both in one evaluation."
        )
    names = [name for name in found[0] if name.endswith(tuple(f"_{kind}" for kind in CONFIDENCES))]
    columns = {name: [np.nan if row[name] is None else row[name] for row in found] for name in names}
    return {name: np.array(values, np.float64) for name, values in columns.items()}
