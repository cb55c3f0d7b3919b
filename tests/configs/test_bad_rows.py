"""Rows that a run cannot use: `doctor` and `fit` name them in one line, before any weight is read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.configs.conftest import CONFIGS
from tests.configs.questions import png, write_questions
from vlcal.cli import main

CONFIG = CONFIGS / "qwen3vl" / "2b_8gb.yaml"
TRAIN = "--data.init_args.train.init_args.path"
VERIFIER = "--model.init_args.pipeline.init_args.reader.init_args.verifier"
PICTURE = png(64, 48)
Run = Callable[..., str]


@pytest.fixture
def refused(small: Callable[[Path], list[str]], checkpoint: Callable[[Path], Path], tmp_path: Path) -> Run:
    """What a command ends with that is run on a checkpoint without weights."""
    bare = tmp_path / "bare"
    shutil.copytree(checkpoint(CONFIG), bare, ignore=shutil.ignore_patterns("*.safetensors"))

    def run(command: str, rows: Path, *more: str) -> str:
        memory = ["--memory", "8"] if command == "doctor" else []
        path = ["--model.init_args.policy.init_args.path", str(bare)]
        with pytest.raises(SystemExit) as ended:
            main([command, *small(CONFIG), *path, *memory, TRAIN, str(rows), *more])
        return str(ended.value.code)

    return run


@pytest.mark.parametrize("command", ["doctor", "fit"])
@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"images": [[]], "problem": "<image>?"}, "the question has 1 `<image>` mark, but the row has 0 images"),
        ({"images": [[png(2800, 12)]]}, "the sides of an image .* at most 200, .* got 2800 x 12 pixels"),
        ({"images": [[PICTURE]], "answer": "twelve"}, "`target` must be a number for `NumericVerifier`; got 'twelve'"),
    ],
    ids=["marks", "sides", "target"],
)
def test_a_row_that_the_run_cannot_use_is_named_in_one_line_before_weights_are_loaded(
    refused: Run, tmp_path: Path, command: str, row: dict[str, object], complaint: str
) -> None:
    rows = write_questions(tmp_path / "rows.parquet", **row)  # type: ignore[arg-type]

    said = refused(command, rows, VERIFIER, "vlcal.verifiers.NumericVerifier")

    assert "\n" not in said
    assert re.match(rf"vlcal: error: .*rows\.parquet, row 1: {complaint}", said)
