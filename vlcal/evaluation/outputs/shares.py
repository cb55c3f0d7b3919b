"""The file of a run on several ranks: the first rank's, with the shares that the others wrote beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from vlcal.errors import UserError
from vlcal.evaluation.outputs.sheet import Sheet, read_sheet

_SHARE = re.compile(r"(.+)\.\d+")  # NAME.1.jsonl of NAME.jsonl, as vlcal's writers name them


def read_shares(path: Path) -> Sheet:
    """The table in a file, and below it those of its shares with the same columns, in the order of their ranks."""
    first = read_sheet(path)
    sheets = [read_sheet(share) for share in shares_of(path) if share.stat().st_size]  # a rank may have had no prompt
    sheets = [sheet for sheet in sheets if set(sheet.columns) == set(first.columns)]
    columns = {
        name: [*cells, *(cell for sheet in sheets for cell in sheet.columns[name])]
        for name, cells in first.columns.items()
    }
    rows = [*first.rows, *(f"{row} of {sheet.path.name}" for sheet in sheets for row in sheet.rows)]
    return Sheet(path, columns, rows) if sheets else first


def shares_of(path: Path) -> list[Path]:
    """The files that the second and later ranks wrote beside that of the first."""
    shares = [file for file in path.parent.glob(f"*.*{path.suffix}") if is_share(file) and first_of_run(file) == path]
    return sorted(shares, key=lambda file: int(file.stem.rpartition(".")[2]))


def is_share(path: Path) -> bool:
    """Whether the file is a share of another one that is there."""
    return first_of_run(path) != path


def first_of_run(path: Path) -> Path:
    """The file of the first rank, whose share `path` is; itself if it is no share."""
    share = _SHARE.fullmatch(path.stem)
    first = path.with_name(f"{share[1]}{path.suffix}") if share else path
    return first if first.is_file() else path


def prediction_files(folder: Path) -> list[Path]:
    """The prediction files directly in a folder: one whose name begins with "before" first, the others by age."""
    files = [path for path in folder.glob("*.jsonl") if not is_share(path) and _holds_predictions(path)]
    return sorted(files, key=lambda path: (not path.name.startswith("before"), path.stat().st_mtime, path.name))


def _holds_predictions(path: Path) -> bool:
    """Whether the first line is a response with a verdict and a confidence."""
    try:
        with path.open(encoding="utf-8") as file:
            row = json.loads(file.readline() or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, row 1: not JSON: {error}. Write one JSON object a line.") from error
    return isinstance(row, dict) and "correct" in row and bool(row.keys() & {"overall", "visual", "reasoning"})
