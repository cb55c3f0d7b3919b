"""The command line: `vlcal fit | validate | test | predict --config FILE`, and the few commands beside it."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import auto_cli
from lightning import LightningDataModule
from lightning.pytorch.cli import LightningCLI

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
            parser_kwargs={"parser_mode": "omegaconf+", "prog": "vlcal"},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=args,
        )


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


def main(args: list[str] | None = None) -> None:
    """Run one command."""
    given = sys.argv[1:] if args is None else args
    if given and given[0] in COMMANDS:
        auto_cli(COMMANDS[given[0]], args=given[1:], prog=f"vlcal {given[0]}", as_positional=False)
    else:
        Cli(args)
