"""`vlcal fit | validate | test | predict`: LightningCLI, loaded for these alone since it takes seconds to import."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from yaml import YAMLError

import vlcal.modules  # noqa: F401 - so that `--model` knows them by their short names
from vlcal.errors import UserError, causes

CONFIG_SUFFIXES = {".yaml", ".yml", ".json"}
LIGHTNING_FINDS = {"best", "last", "hpc", "registry"}


class Cli(LightningCLI):
    """LightningCLI with every part of vlcal open to a config file, and `${...}` references between its values.

    Args:
        args: As typed; None takes those of the process.
        run: Whether to run the command that they name.
        about: What `--help` says first.
    """

    def __init__(self, args: list[str] | None = None, run: bool = True, about: str = "") -> None:
        super().__init__(
            model_class=LightningModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            # A key cut short is a typo, not a key.
            parser_kwargs={
                "parser_mode": "omegaconf+",
                "prog": "vlcal",
                "description": about,
                "allow_abbrev": False,
                "exit_on_error": False,  # `main` says it in one line, without a page of usage
            },
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=args,
            run=run,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and look at the checkpoint before anything is made; without a word about who gave the arguments."""
        try:
            self.config = parser.parse_args(args)
        except (ArgumentError, UnicodeDecodeError) as error:
            *_, innermost = causes(error)
            if not isinstance(innermost, YAMLError | UnicodeDecodeError):
                raise
            reason = " ".join(str(innermost).split())
            raise UserError(f"`config` must be YAML in UTF-8; {_unreadable(args)} is not: {reason}.") from error
        path = self.config.get(f"{self.config.get('subcommand')}.ckpt_path")
        if path is not None and path not in LIGHTNING_FINDS:
            check_checkpoint(Path(path))


def check_checkpoint(path: Path) -> None:
    """Refuse what Lightning did not write as a checkpoint, before a model is made for it.

    Raises:
        UserError: If it is missing, cut short or something else.
    """
    if not path.exists():
        raise UserError(f"`ckpt_path` must be a checkpoint; {path} is not there.")
    if path.is_dir():
        raise UserError(f"`ckpt_path` must be the file of a checkpoint; {path} is a folder. Name a file in it.")
    # A zip archive has its directory at the end: what was cut short has none.
    if not zipfile.is_zipfile(path):
        raise UserError(f"`ckpt_path` must be a checkpoint; {path} is damaged or something else. Use an earlier one.")
    if not _written_by_lightning(path):
        raise UserError(f"`ckpt_path` must be a checkpoint that a run wrote; {path} is another archive.")


def _written_by_lightning(archive: Path) -> bool:
    """Whether the pickle of a zip archive holds the version that Lightning writes; nothing of it is executed."""
    with zipfile.ZipFile(archive) as members:
        pickles = [name for name in members.namelist() if name.endswith("/data.pkl")]
        return any(b"pytorch-lightning_version" in members.read(name) for name in pickles)


def _unreadable(args: list[str] | None) -> str:
    """The first config among the arguments that is not YAML."""
    named = (Path(given.rpartition("=")[2]) for given in (sys.argv[1:] if args is None else args))
    for path in (path for path in named if path.suffix in CONFIG_SUFFIXES and path.is_file()):
        try:
            yaml.safe_load(path.read_bytes())
        except YAMLError:
            return str(path)
    return "a file that it names"


def figures_of(args: list[str]) -> dict[str, float]:
    """Run one command; the calibration figures it ended with, by their short names."""
    metrics = Cli(args).trainer.callback_metrics
    return {name.split("/")[-1]: float(value) for name, value in metrics.items() if name.startswith("val/calibration/")}
