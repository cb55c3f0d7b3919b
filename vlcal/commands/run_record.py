"""The record of a run: what it takes to run it again."""

from __future__ import annotations

import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path

import torch
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from vlcal.files import write_whole
from vlcal.version import VERSION

LIBRARIES = ("torch", "torchvision", "transformers", "tokenizers", "peft", "bitsandbytes", "lightning", "jsonargparse")


class RunRecord(SaveConfigCallback):
    """Writes the complete config of a run beside its log as config.yaml, which `vlcal fit --config` runs again.

    Above it stand the command, the versions and the revision it was run with. Training alone writes one, and never over
    another: the next run in that folder, also one that resumes, writes config-2.yaml.

    Args:
        parser: Of the command.
        config: What it parsed.
        command: As typed.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, command: list[str]) -> None:
        super().__init__(parser, config)
        self.command = command

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the record before anything heavy is done."""
        folder = trainer.log_dir  # asked for on every rank, since the ranks agree on it
        if stage != "fit" or folder is None or not trainer.is_global_zero:
            return
        above = "".join(f"# {line}\n" for line in provenance(self.command, trainer.strategy.root_device))
        content = self.parser.dump(self.config, skip_unset=False)
        write_whole(new_name(Path(folder)), above + content)


def new_name(folder: Path) -> Path:
    """config.yaml, or the first of config-2.yaml, config-3.yaml, ... that is not there yet."""
    names = (folder / ("config.yaml" if number == 1 else f"config-{number}.yaml") for number in count(1))
    return next(name for name in names if not name.exists())


def provenance(command: list[str], device: torch.device) -> list[str]:
    """Command, versions, machine and time of a run, a line each."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return [
        shlex.join(["vlcal", *command]).replace("\n", "\\n"),
        f"vlcal {VERSION}, {revision() or 'not in a git repository'}",
        ", ".join([f"Python {sys.version.split()[0]}", *(f"{name} {_version(name)}" for name in LIBRARIES)]),
        f"{datetime.now(UTC).isoformat(timespec='seconds')}, on {name}",
    ]


def revision() -> str | None:
    """The git commit of this package and whether files were changed since; None where git does not know the package."""
    here = Path(__file__).parents[1] / "__init__.py"
    try:
        for asked in (["ls-files", "--error-unmatch", here.name], ["describe", "--always", "--abbrev=40", "--dirty"]):
            done = subprocess.run(["git", *asked], cwd=here.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"git {done.stdout.strip()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
