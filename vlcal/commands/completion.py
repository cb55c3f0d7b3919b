"""`vlcal completion`: commands and options completed by the shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Literal

from vlcal.commands.catalogue import COMMANDS, LIGHTNING_COMMANDS, command_parser
from vlcal.errors import UserError


def completion(shell: Literal["bash", "zsh", "tcsh"], /) -> None:
    """Write the script by which a shell completes the commands of vlcal and their options.

    Args:
        shell: The shell that reads it.

    Raises:
        UserError: If the library that makes it is missing.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise UserError("`vlcal completion` needs shtab; install it with: pip install 'vlcal[completion]'") from error
    sys.stdout.write(f"{shtab.complete(parser(shtab.FILE), shell)}\n")


def parser(file: Mapping[str, object]) -> argparse.ArgumentParser:
    """The commands and their options, without the types that a shell does not ask for.

    Args:
        file: What `shtab` completes by the names of files.
    """
    whole = argparse.ArgumentParser(prog="vlcal")
    whole.add_argument("--version", action="store_true", help="Show the version.")
    commands = whole.add_subparsers()
    for name, about in LIGHTNING_COMMANDS.items() | {("doctor", COMMANDS["doctor"])}:
        described = commands.add_parser(name, help=about)
        for option in ("--config", "--ckpt_path"):
            described.add_argument(option).complete = file  # type: ignore[attr-defined]
        described.add_argument("--print_config", action="store_true")
    for name in sorted(COMMANDS.keys() - {"doctor"}):
        described = commands.add_parser(name, help=COMMANDS[name])
        for action in command_parser(name)._actions:
            _add(described, action, file)
    return whole


def _add(described: argparse.ArgumentParser, action: argparse.Action, file: Mapping[str, object]) -> None:
    """An action of another parser, by its names alone."""
    if action.dest == "help":
        return
    names = action.option_strings or [action.dest]
    if action.nargs == 0:
        described.add_argument(*names, action="store_true", help=action.help)
    else:
        added = described.add_argument(*names, choices=action.choices, help=action.help)
        added.complete = file  # type: ignore[attr-defined]
