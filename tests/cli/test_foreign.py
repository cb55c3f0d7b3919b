"""What other libraries say, as a user of a command reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_seeds_are_not_announced_and_a_missing_gpu_is_said_in_words(tmp_path: Path) -> None:
    asked = "from vlcal.commands.foreign import mute; mute(); from lightning import Trainer, seed_everything"
    made = f"seed_everything(3); Trainer(accelerator='cpu', logger=False, default_root_dir={str(tmp_path)!r})"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", f"{asked}; {made}"], capture_output=True, text=True, check=True, env=environment
    )
    assert "No GPU was found: the processor computes." in done.stderr and "eed set" not in done.stderr


def test_weights_load_without_a_bar_where_nobody_sees_it_move() -> None:
    asked = "from vlcal.commands.foreign import mute; mute(); from transformers.utils import logging"
    shown = f"{asked}; print(logging.is_progress_bar_enabled())"
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
