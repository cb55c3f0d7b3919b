"""What other libraries say, as a user of a command reads it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning import Trainer, seed_everything

from vlcal.commands.foreign import mute


def test_seeds_are_not_announced_and_a_missing_gpu_is_said_in_words(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    mute()
    with caplog.at_level(logging.INFO):
        seed_everything(3)
        Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    assert caplog.messages == ["No GPU was found: the processor computes."]


def test_weights_load_without_a_bar_where_nobody_sees_it_move() -> None:
    asked = "from vlcal.commands.foreign import mute; mute(); from transformers.utils import logging"
    shown = f"{asked}; print(logging.is_progress_bar_enabled())"
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
