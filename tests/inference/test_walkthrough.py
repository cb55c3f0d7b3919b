"""The script of the documentation, from fifty labelled images to answers of the exported model."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from string import Template

import pytest

import vlcal
from tests.inference.conftest import labelled
from vlcal.cli import main
from vlcal.types import PromptBatch

SCRIPT = Path(__file__).parents[2] / "docs" / "walkthrough.sh"
BASE = Path(vlcal.__file__).with_name("base")
# As small as it gets, in the form that the shipped base was taught.
SETTINGS = """
trainer: {accelerator: cpu, limit_train_batches: 1, limit_val_batches: 1, limit_predict_batches: 1, max_epochs: 1}
model:
  init_args:
    policy: {init_args: {dtype: float32}}
    pipeline:
      init_args: {reader: {init_args: {grammar: {instructions: "", levels: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}}}
    sampling: {init_args: {group_size: 3, training: {init_args: {max_new_tokens: 72}}}}
data: {init_args: {batch_size: 4, workers: 0}}
"""


def commands(folder: Path, model: Path) -> list[list[str]]:
    """The arguments of each `vlcal` of the script, as the shell gives them."""
    lines = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith("vlcal ")]
    names = {"FOLDER": str(folder), "MODEL": str(model)}
    return [
        [
            given
            for word in shlex.split(line)[1:]
            for given in (
                ["--config", "small.yaml"] if word == "${SETTINGS[@]}" else [Template(word).substitute(names)]
            )
        ]
        for line in lines
    ]


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_fifty_labelled_images_go_through_every_command(
    scenes: Callable[[int], PromptBatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SETTINGS, encoding="utf-8")
    subprocess.run(["bash", "-n", SCRIPT], check=True)  # one process for each command would take a minute
    for words in commands(labelled(tmp_path, scenes(50)), BASE):
        main(words)

    run = tmp_path / "runs" / "experiment"
    assert "<html" in (run / "report" / "report.html").read_text(encoding="utf-8")
    assert len(rows(run / "predictions.jsonl")) == len(rows(run / "validation.jsonl"))
    of_run, of_export = (rows(tmp_path / name) for name in ("answers.jsonl", "answers-merged.jsonl"))
    assert len(of_run) == len(of_export) == 50
    assert all(
        sum(bool(row["parsed"]) for row in replies) > 25 for replies in (of_run, of_export)
    )  # in the form of the run
    card = (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    assert "library_name: transformers" in card and "nats a token" in card
