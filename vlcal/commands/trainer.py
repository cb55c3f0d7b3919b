"""`vlcal fit | validate | test | predict`: LightningCLI, loaded for these alone since it takes seconds to import."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace
from lightning import Callback, LightningDataModule, LightningModule
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table
from torch import Tensor
from yaml import YAMLError

import vlcal.modules  # noqa: F401 - so that `--model` knows them by their short names
from vlcal.callbacks.prediction_writer import PREDICTIONS, PredictionWriter
from vlcal.commands.foreign import mute
from vlcal.commands.own_defaults import own_defaults
from vlcal.commands.resumable_run import ResumableRun
from vlcal.commands.run_record import RunRecord
from vlcal.errors import UserError, causes, one_line
from vlcal.modules.checkpoints import WholeCheckpoints, check_checkpoint
from vlcal.own_parts import restrict_imports
from vlcal.recipe import with_recipes

PRECISIONS = {None, "32-true", "32", 32, "bf16-mixed", "bf16", "16-mixed", "16", 16}
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
            save_config_callback=RunRecord,
            save_config_kwargs={"command": sys.argv[1:] if args is None else args},
            # Every step is logged: steps are long, and short runs have few.
            trainer_defaults={"callbacks": [ResumableRun()], "log_every_n_steps": 1},
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
            load_from_checkpoint_support=False,  # a checkpoint holds settings of its own, and the dump takes a second
            args=args,
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the key that `with_recipes` reads."""
        parser.add_argument("--recipe", type=str | None, default=None, help="Recipe that a config is based on.")

    def after_instantiate_classes(self) -> None:
        """Have checkpoints written whole and predictions written, unless the config has a way of its own."""
        mute()
        if type(self.trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            self.trainer.strategy.checkpoint_io = WholeCheckpoints()
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        if self.subcommand == "predict" and not any(isinstance(one, PredictionWriter) for one in callbacks):
            callbacks.append(PredictionWriter(Path(self.trainer.default_root_dir) / f"{PREDICTIONS}.jsonl"))

    def before_validate(self) -> None:
        """Keep Lightning's table back, in which half of the rows are NaN where only answers can be judged."""
        self._tells = self.config_init.validate.verbose
        self.config_init.validate.verbose = False

    def after_validate(self) -> None:
        """Show the figures that are known."""
        if self._tells and self.trainer.is_global_zero:
            known, unknown = figures_table(self.trainer.callback_metrics)
            Console().print(known, *unknown)

    def instantiate_classes(self) -> None:
        """Make every part; jsonargparse lets null pass for any type, and a number for the settings of a dataclass.

        Raises:
            UserError: If a part, or the trainer, cannot take such a value.
        """
        try:
            super().instantiate_classes()
        except MisconfigurationException as error:
            raise UserError(f"`trainer` must be set as Lightning takes it: {one_line(error)}") from error
        except (TypeError, ValueError) as error:
            wrong = [cause for cause in causes(error) if isinstance(cause, TypeError)]
            if not wrong or any(isinstance(cause, UserError) for cause in causes(error)):
                raise
            taker = _taker(wrong[-1])
            raise UserError(f"`config` must give every part what it takes{taker}: {one_line(wrong[-1])}.") from error

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and look at the checkpoint before anything is made; without a word about who gave the arguments."""
        restrict_imports()
        try:
            with own_defaults():
                self.config = parser.parse_args(with_recipes(sys.argv[1:] if args is None else args))
        except (ArgumentError, UnicodeDecodeError) as error:
            *_, innermost = causes(error)
            if not isinstance(innermost, YAMLError | UnicodeDecodeError):
                raise
            raise UserError(
                f"`config` must be YAML in UTF-8; {_unreadable(args)} is not: {one_line(innermost)}."
            ) from error
        except OmegaConfBaseException as error:
            raise UserError(
                f"`config` must refer, by `${{...}}`, to values that it holds: {one_line(error)}."
            ) from error
        chosen = self.config.get(str(self.config.get("subcommand")), self.config)
        check_trainer(chosen.trainer)
        refuse_unpickling(chosen.get("weights_only"))
        path = chosen.get("ckpt_path")
        if path is not None and path not in LIGHTNING_FINDS:
            check_checkpoint(Path(path))


def refuse_unpickling(weights_only: bool | None) -> None:
    """Refuse to have a checkpoint unpickled: it is read as weights and plain values, and runs no code."""
    if weights_only is False:
        raise UserError(
            "`weights_only` must be left out or true, since unpickling a checkpoint runs whatever code it holds; got "
            "false."
        )


def check_trainer(settings: Namespace) -> None:
    """Refuse settings of the trainer that would change what a run learns, or do nothing, before anything is made.

    Raises:
        UserError: If there are any; says what to set instead.
    """
    precision, passes = settings.get("precision"), settings.get("accumulate_grad_batches")
    if precision not in PRECISIONS:
        raise UserError(
            f"`trainer.precision` must be 32-true, bf16-mixed or 16-mixed; got {precision}. The type of the weights is "
            "set by `model.policy.dtype`, bfloat16 by default; adapters learn in float32, or small updates were lost."
        )
    if passes not in (None, 1):
        raise UserError(
            f"`trainer.accumulate_grad_batches` must be left out; got {passes}. The prompts of a step are set by "
            "`data.batch_size`, of an update by `model.update.minibatch_prompts`, and memory follows "
            "`model.update.token_budget`."
        )
    if settings.get("gradient_clip_val"):
        raise UserError(
            f"`trainer.gradient_clip_val` must be left out; got {settings.gradient_clip_val}. The largest norm of the "
            "gradient is set by `model.optimization.clip`."
        )


def figures_table(logged: Mapping[str, Tensor]) -> tuple[Table, list[str]]:
    """What a validation logged, by name, and a line that names what could not be known, if anything could not."""
    shown, unknown = Table("validation", box=None), []
    shown.add_column("", justify="right")
    for name, value in sorted(logged.items()):
        if value.isnan():
            unknown.append(name.rpartition("/")[2])
        else:
            shown.add_row(name, f"{float(value):.3f}" if float(value) % 1 else f"{float(value):.0f}")
    return shown, [f"not known here: {', '.join(unknown)}"] if unknown else []


def _unreadable(args: list[str] | None) -> str:
    """The first config among the arguments that is not YAML."""
    named = (Path(given.rpartition("=")[2]) for given in (sys.argv[1:] if args is None else args))
    for path in (path for path in named if path.suffix in CONFIG_SUFFIXES and path.is_file()):
        try:
            yaml.safe_load(path.read_bytes())
        except YAMLError:
            return str(path)
    return "a file that it names"


def _taker(error: BaseException) -> str:
    """The part in whose constructor an error was raised, as the end of a clause."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__) if frame.f_code.co_name == "__init__"]
    owners = [type(frame.f_locals["self"]).__name__ for frame in frames if "self" in frame.f_locals]
    return f", and {owners[-1]} was given something else" if owners else ""


def figures_of(args: list[str]) -> dict[str, float]:
    """Run one command; what it logged last, by name."""
    return {name: float(value) for name, value in Cli(args).trainer.callback_metrics.items()}
