"""Where prompts come from."""

from vlcal.data.bad_rows import BadRows, RefuseBadRows, SkipBadRows
from vlcal.data.benchmarks import SUITES, Benchmark, BenchmarkSuite
from vlcal.data.datamodule import VisionQuestions
from vlcal.data.demonstrations import DemonstratedForm, Demonstrations
from vlcal.data.images import ImageSize
from vlcal.data.records import Columns
from vlcal.data.rules import (
    AnswerRule,
    AsWritten,
    ByColumn,
    ByIndex,
    ByLetter,
    ByText,
    FirstThatReads,
    Verified,
    WithOptions,
)
from vlcal.data.sources import Csv, HeldOut, Hub, JsonLines, Parquet, Remaining, Source

__all__ = [
    "SUITES",
    "AnswerRule",
    "AsWritten",
    "BadRows",
    "Benchmark",
    "BenchmarkSuite",
    "ByColumn",
    "ByIndex",
    "ByLetter",
    "ByText",
    "Columns",
    "Csv",
    "DemonstratedForm",
    "Demonstrations",
    "FirstThatReads",
    "HeldOut",
    "Hub",
    "ImageSize",
    "JsonLines",
    "Parquet",
    "RefuseBadRows",
    "Remaining",
    "SkipBadRows",
    "Source",
    "Verified",
    "VisionQuestions",
    "WithOptions",
]
