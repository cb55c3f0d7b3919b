"""The commands by name: what each is for, the function behind it and its parser."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser

COMMANDS = {
    "ask": "Put a question about an image, or a file of them, to a trained model; answer or abstain at a chosen risk.",
    "completion": "Write what a shell needs to complete commands and options: bash, zsh or tcsh.",
    "demo": "Teach the embedded model to state calibrated confidences about real handwriting, on the CPU.",
    "doctor": "Check a config, its data and the memory it needs before hours are spent on it.",
    "export": "Write what a run learned as an ordinary checkpoint folder.",
    "init": "Look at a folder or file of your own questions and write a config for it.",
    "report": "Write a report about prediction files: one HTML page, Markdown and CSV.",
    "score": "Score the confidences in files, whoever wrote them.",
    "ui": "Ask a trained model at a page in the browser, spoil its image and alter its reading.",
}
# As `LightningCLI.subcommands()` names them, which takes seconds to import.
LIGHTNING_COMMANDS = {
    "fit": "Train, and validate while training.",
    "validate": "Judge a policy on the validation data of a config.",
    "test": "Judge a policy on the test data of a config.",
    "predict": "Answer the questions of a config, also those without an answer.",
}
EVERY_COMMAND = LIGHTNING_COMMANDS | COMMANDS


def command(name: str) -> Callable[..., None]:
    """The function behind one of the commands beside those of Lightning; imported when it is asked for."""
    found: Callable[..., None] = getattr(import_module(f"vlcal.commands.{name}"), name)
    return found


def positional(function: Callable[..., None]) -> list[str]:
    """The parameters of a command that stand behind its name: those that Python takes by position alone."""
    parameters = inspect.signature(function).parameters
    return [name for name, each in parameters.items() if each.kind is each.POSITIONAL_ONLY]


def command_parser(name: str) -> ArgumentParser:
    """The parser of a command: positional parameters and a list of files stand behind its name, options elsewhere."""
    function = command(name)
    about = docstring_parser.parse(function.__doc__ or "")
    parser = ArgumentParser(prog=f"vlcal {name}", description=COMMANDS[name], allow_abbrev=False, exit_on_error=False)
    described_as = {one.arg_name: one.description for one in about.params}
    hints, placed = get_type_hints(function), positional(function)
    # One by one: `add_function_arguments` would import what the module names for its types alone, which takes seconds.
    for argument, parameter in inspect.signature(function).parameters.items():
        kind, told, needed = hints[argument], described_as[argument], parameter.default is parameter.empty
        if kind == list[Path]:
            parser.add_argument(argument, nargs="+", type=Path, help=told)
        elif argument in placed:
            parser.add_argument(argument, nargs=None if needed else "?", type=kind, help=told)
        elif kind is bool:
            parser.add_argument(f"--{argument.replace('_', '-')}", action="store_true", help=told)
        elif needed:
            parser.add_argument(f"--{argument}", required=True, type=kind, help=told)
        else:
            parser.add_argument(f"--{argument}", default=parameter.default, type=kind, help=told)
    return parser
