"""From a file to the outputs in it."""

from __future__ import annotations

from pathlib import Path

from vlcal.evaluation.outputs.lmms_eval import LmmsEvalSamples
from vlcal.evaluation.outputs.log_format import LogFormat
from vlcal.evaluation.outputs.named_columns import NamedColumns, PredictionFile
from vlcal.evaluation.outputs.outputs import Outputs, Request
from vlcal.evaluation.outputs.sheet import read_sheet
from vlcal.evaluation.outputs.vlmevalkit import VLMEvalKitOutput

# The first that recognises a sheet reads it; the last recognises any.
LOG_FORMATS: tuple[LogFormat, ...] = (PredictionFile(), LmmsEvalSamples(), VLMEvalKitOutput(), NamedColumns())


def read_outputs(path: Path, request: Request = Request()) -> Outputs:
    """The outputs in a file, in whichever format it is.

    Raises:
        ValueError: If anything about it is not what it should be; names file, row and column.
    """
    sheet = read_sheet(path)
    return next(kind for kind in LOG_FORMATS if kind.recognises(sheet)).read(sheet, request)
