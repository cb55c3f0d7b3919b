"""The command line: `vlcal fit | validate | test | predict --config FILE`, and the few commands beside it."""

from __future__ import annotations

import sys
import traceback
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import vlcal.modules  # noqa: F401 - so that `--model` knows them by their short names

ABOUT = "Teaches vision-language models to say how sure they are of what they see and of what they conclude."
COMMANDS = {
    "demo": "Teach the embedded model to state calibrated confidences about real handwriting, on the CPU.",
    "doctor": "Check a config, its data and the memory it needs before hours are spent on it.",
    "export": "Write what a run learned as an ordinary checkpoint folder.",
    "report": "Write a report about prediction files: one HTML page, Markdown and CSV.",
    "score": "Score the confidences in files, whoever wrote them.",
}
LIGHTNING_FINDS = {"best", "last", "hpc", "registry"}


class Cli(LightningCLI):
    """LightningCLI with every part of vlcal open to a config file, and `${...}` references between its values."""

    def __init__(self, args: list[str] | None = None, run: bool = True) -> None:
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
                "description": f"{ABOUT} Beside the subcommands below: {', '.join(COMMANDS)}; each has its --help.",
                "allow_abbrev": False,
            },
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=args,
            run=run,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and look at the checkpoint before anything is made; without a word about who gave the arguments."""
        self.config = parser.parse_args(args)
        path = self.config.get(f"{self.config.get('subcommand')}.ckpt_path")
        if path is not None and path not in LIGHTNING_FINDS:
            check_checkpoint(Path(path))


def check_checkpoint(path: Path) -> None:
    """Refuse a file that no checkpoint can be read from.

    Raises:
        ValueError: If it is missing, cut short or something else.
    """
    if not path.exists():
        raise ValueError(f"`ckpt_path` must be a checkpoint; {path} is not there.")
    # A zip archive has its directory at the end: what was cut short has none. Sharded checkpoints are folders.
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError(f"`ckpt_path` must be a checkpoint; {path} is damaged or something else. Use an earlier one.")


def figures_of(args: list[str]) -> dict[str, float]:
    """Run one command; the calibration figures it ended with, by their short names."""
    metrics = Cli(args).trainer.callback_metrics
    return {name.split("/")[-1]: float(value) for name, value in metrics.items() if name.startswith("val/calibration/")}


def command(name: str) -> Callable[..., None]:
    """The function behind one of the commands beside those of Lightning; imported when it is asked for."""
    found: Callable[..., None] = getattr(import_module(f"vlcal.commands.{name}"), name)
    return found


def run_command(name: str, args: list[str]) -> None:
    """Run a command: a list of files stands behind its name, everything else is an option."""
    function = command(name)
    if [*get_type_hints(function)] == ["args", "return"]:  # it reads them itself
        function(args)
        return
    about = docstring_parser.parse(function.__doc__ or "")
    parser = ArgumentParser(prog=f"vlcal {name}", description=COMMANDS[name], allow_abbrev=False)
    files: set[str | int] = {name for name, kind in get_type_hints(function).items() if kind == list[Path]}
    for described in about.params:
        if described.arg_name in files:
            parser.add_argument(described.arg_name, nargs="+", type=Path, help=described.description)
    parser.add_function_arguments(function, as_group=False, skip=files)
    function(**vars(parser.parse_args(args)))


def main(args: list[str] | None = None) -> None:
    """Run one command; what our own checks refuse ends it with one line, anything else with its traceback."""
    given = sys.argv[1:] if args is None else args
    try:
        if given and given[0] in COMMANDS:
            run_command(given[0], given[1:])
        else:
            Cli(args)
    except ValueError as error:
        ours = _from_our_checks(error)
        if ours is None:
            raise
        sys.exit(f"vlcal: error: {ours}")


def _from_our_checks(error: BaseException | None) -> BaseException | None:
    """The error that a check of ours raised, wherever a library wrapped it; None where it came from elsewhere."""
    if error is None:
        return None
    *_, innermost = traceback.extract_tb(error.__traceback__)
    if isinstance(error, ValueError) and Path(innermost.filename).is_relative_to(Path(__file__).parent):
        return error
    return _from_our_checks(error.__cause__ or error.__context__)
