"""What a report shows of a file beyond its scored outputs: texts, images, measurements, probes, other readouts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vlcal.errors import UserError
from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.outputs import DeclaredScale, Outputs, Request, outputs_in
from vlcal.evaluation.outputs.column import confidence_column, number_of
from vlcal.evaluation.outputs.shares import prediction_files, read_shares
from vlcal.evaluation.outputs.sheet import Sheet
from vlcal.evaluation.report.scored import short_names

CONFIDENCES = ("overall", "visual", "reasoning")
MOST_RUNS = 6  # as many colours as are distinct in one figure


@dataclass(frozen=True)
class Run:
    """One file of outputs with what lies beside it.

    Args:
        name: What the report calls it.
        sheet: The file as it was written; paths of images are relative to its folder.
        outputs: Its confidences and verdicts.
        probes: Results of probes by name, from `NAME.probes.json`; empty without that file.
        readouts: Kind -> name -> other confidences in the same responses, from `NAME.readouts.jsonl` and the label-free
            visual certainty; empty without.
    """

    name: str
    sheet: Sheet
    outputs: Outputs
    probes: Mapping[str, Any]
    readouts: Mapping[str, Mapping[str, Floats]]

    def __len__(self) -> int:
        return len(self.sheet)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One mapping per response, as it was written."""
        columns = self.sheet.columns
        return [{name: cells[row] for name, cells in columns.items()} for row in range(len(self))]

    def column(self, name: str) -> Floats:
        """A column of numbers: a confidence, a truth, or a measurement; NaN where absent."""
        truths = {truth: self.outputs.truth[kind] for kind, truth in self.outputs.held_against.items()}
        known = {**truths, **self.outputs.confidence}
        return known[name] if name in known else _numbers(self.sheet, name)


def load_runs(paths: Sequence[Path]) -> tuple[Run, ...]:
    """Every run that files and folders hold, in the order given.

    In a folder a file whose name begins with "before" comes first, the others by age; files that are no predictions are
    passed over. Shares that several ranks wrote (`NAME.1.jsonl`) are part of `NAME.jsonl`.

    Raises:
        UserError: If there is nothing to report, or a row is not what it should be; names file and row.
    """
    files = [file for path in paths for file in (_in_folder(path) if path.is_dir() else [path])]
    if not 1 <= len(files) <= MOST_RUNS:
        raise UserError(
            f"`runs` must be 1 to {MOST_RUNS} prediction files, since a figure has that many colours; got "
            f"{len(files)} in {', '.join(map(str, paths)) or 'nothing'}. Name the files."
        )
    return tuple(_run(name, file) for name, file in zip(short_names(files), files, strict=True))


def _run(name: str, path: Path) -> Run:
    sheet = read_shares(path)
    outputs = outputs_in(sheet, Request(scale=DeclaredScale(1)))
    return Run(name, sheet, outputs, _probes(path), _readouts(sheet, outputs))


def _in_folder(folder: Path) -> list[Path]:
    files = prediction_files(folder)
    if not files:
        raise UserError(
            f"`runs` must name prediction files or folders that hold some; {folder} holds none. PredictionWriter "
            "writes them."
        )
    return files


def _probes(path: Path) -> Mapping[str, Any]:
    beside = path.with_name(f"{path.stem}.probes.json")
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{beside} must be JSON: {error}. ProbeWriter writes it; remove it to report without."
        ) from error
    if not isinstance(found, dict):
        raise UserError(f"{beside} must hold a JSON object of probe results; got {type(found).__name__}.")
    return found


def _readouts(sheet: Sheet, outputs: Outputs) -> Mapping[str, Mapping[str, Floats]]:
    """By kind every column NAME_KIND that ReadoutWriter wrote about the responses, and the measured certainty."""
    found: dict[str, dict[str, Floats]] = {kind: {} for kind in outputs.confidence}
    beside = sheet.path.with_name(f"{sheet.path.stem}.readouts.jsonl")
    if beside.is_file():
        other = read_shares(beside)
        if other.columns.get("id") != sheet.columns.get("id"):
            raise UserError(
                f"{beside} must hold the responses of {sheet.path.name} in the same order; got {len(other)} rows for "
                f"{len(sheet)}, or other ids. Write both in one evaluation."
            )
        for column in other.columns:
            name, _, kind = column.rpartition("_")
            if name and kind in found:
                found[kind][f"readout_{name}"] = confidence_column(other, column)
    certainty = _numbers(sheet, "certainty")
    for readouts in found.values():
        readouts["certainty"] = certainty
    return {kind: {name: values for name, values in found[kind].items() if _in_unit(values)} for kind in found}


def _in_unit(values: Floats) -> bool:
    """Whether there is a value and all lie in [0, 1]: a score on another scale is no confidence."""
    known = values[~np.isnan(values)]
    return bool(len(known)) and bool(((known >= 0) & (known <= 1)).all())


def _numbers(sheet: Sheet, name: str) -> Floats:
    """A measurement that vlcal writes; NaN where it is absent, or where another program's column holds no number."""
    numbers = [number_of(cell) for cell in sheet.columns.get(name, [None] * len(sheet))]
    return np.array([np.nan if value is None else value for value in numbers])
