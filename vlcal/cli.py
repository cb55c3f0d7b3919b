"""The command line: `vlcal fit | validate | test | predict --config FILE`, and the few commands beside it."""

from __future__ import annotations

import sys
import traceback
import zipfile
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli
from lightning import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from vlcal.demo import demo
from vlcal.modules import PolicyModule


class Cli(LightningCLI):
    """LightningCLI with every part of vlcal open to a config file, and `${...}` references between its values."""

    def __init__(self, args: list[str] | None = None) -> None:
        super().__init__(
            model_class=PolicyModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            # A key cut short is a typo, not a key.
            parser_kwargs={"parser_mode": "omegaconf+", "prog": "vlcal", "allow_abbrev": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=args,
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


def run_demo(folder: Path = Path("runs/demo"), recipe: str = "best", seed: int = 0) -> None:
    """Teach the embedded model to state calibrated confidences about real handwriting, on the CPU, within minutes.

    Args:
        folder: Where checkpoints, logs, predictions and diagrams go; an earlier demonstration there is replaced.
        recipe: Name of the reinforcement config in configs/digits: best or published.
        seed: Of weights, scenes and samples.
    """
    demo(figures_of, folder, recipe, seed)


def figures_of(args: list[str]) -> dict[str, float]:
    """Run one command; the calibration figures it ended with, by their short names."""
    metrics = Cli(args).trainer.callback_metrics
    return {name.split("/")[-1]: float(value) for name, value in metrics.items() if name.startswith("val/calibration/")}


COMMANDS = {"demo": run_demo}
LIGHTNING_FINDS = {"best", "last", "hpc", "registry"}


def main(args: list[str] | None = None) -> None:
    """Run one command; what our own checks refuse ends it with one line, anything else with its traceback."""
    given = sys.argv[1:] if args is None else args
    try:
        if given and given[0] in COMMANDS:
            auto_cli(COMMANDS[given[0]], args=given[1:], prog=f"vlcal {given[0]}", as_positional=False)
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
