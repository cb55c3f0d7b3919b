"""Other people's outputs: files of model answers, read into confidences and verdicts."""

from __future__ import annotations

import logging
from pathlib import Path

from vlcal.errors import UserError
from vlcal.evaluation.outputs.column import DeclaredScale, PlainScale, Scale
from vlcal.evaluation.outputs.harness import SampleLog, VLMEvalKitTable
from vlcal.evaluation.outputs.inspect_samples import InspectSamples
from vlcal.evaluation.outputs.log_format import LogFormat, NamedColumns, PredictionFile
from vlcal.evaluation.outputs.outputs import Outputs, Request, joined
from vlcal.evaluation.outputs.shares import is_share, prediction_files, read_shares
from vlcal.evaluation.outputs.sheet import NotOutputs, Sheet
from vlcal.evaluation.outputs.statement import GrammarStatement, PatternStatement, Statement, scale_of

__all__ = [
    "LOG_FORMATS",
    "DeclaredScale",
    "GrammarStatement",
    "Outputs",
    "PatternStatement",
    "PlainScale",
    "Request",
    "Scale",
    "Statement",
    "outputs_in",
    "read_outputs",
    "read_runs",
    "scale_of",
]

logger = logging.getLogger(__name__)

# The first that recognises a sheet reads it; the last recognises any.
LOG_FORMATS: tuple[LogFormat, ...] = (
    PredictionFile(),
    SampleLog(),
    InspectSamples(),
    VLMEvalKitTable(),
    NamedColumns(),
)
# Of a folder only files of these names are opened: others that begin with a line of commas are settings or logs.
SUFFIXES = {".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xlsx", ".eval"}


def read_outputs(path: Path, request: Request = Request()) -> Outputs:
    """The outputs in a file with the shares of other ranks beside it, or in all files of a folder that hold any.

    Raises:
        UserError: If anything about a file is not what it should be; names file, row and column.
    """
    if path.is_dir():
        return _read_folder(path, request)
    return outputs_in(read_shares(path), request)


def read_runs(path: Path, request: Request = Request()) -> list[Outputs]:
    """The runs that a path stands for: each prediction file that vlcal wrote is one, all else in a folder another.

    Raises:
        UserError: If anything about a file is not what it should be; names file, row and column.
    """
    predictions = prediction_files(path) if path.is_dir() else []
    return [read_outputs(file, request) for file in predictions or [path]]


def outputs_in(sheet: Sheet, request: Request = Request()) -> Outputs:
    """The outputs in a table, by the first format that recognises it."""
    return next(kind for kind in LOG_FORMATS if kind.recognises(sheet)).read(sheet, request)


def _read_folder(folder: Path, request: Request) -> Outputs:
    """The outputs of the files directly in a folder, as one; those without outputs are named in the log."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    parts, others = [], []
    for path in (file for file in files if not is_share(file)):
        try:
            parts.append(read_outputs(path, request))
        except NotOutputs as error:
            others.append(error)
    if not parts:
        why = f"; {others[0]}" if others else f", none with a name in {', '.join(sorted(SUFFIXES))}."
        raise UserError(f"{folder} holds no file with outputs{why}")
    for reason in others:
        logger.warning("Left out: %s", reason)
    return joined(folder, parts)
