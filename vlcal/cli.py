"""The command line: `vlcal fit | validate | test | predict --config FILE`, and the few commands beside it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import docstring_parser
from jsonargparse import ArgumentError, ArgumentParser

from vlcal.errors import UserError, causes

ABOUT = "Teaches vision-language models to say how sure they are of what they see and of what they conclude."
COMMANDS = {
    "ask": "Put a question about an image, or a file of them, to a trained model; answer or abstain at a chosen risk.",
    "demo": "Teach the embedded model to state calibrated confidences about real handwriting, on the CPU.",
    "doctor": "Check a config, its data and the memory it needs before hours are spent on it.",
    "export": "Write what a run learned as an ordinary checkpoint folder.",
    "init": "Look at a folder or file of your own questions and write a config for it.",
    "report": "Write a report about prediction files: one HTML page, Markdown and CSV.",
    "score": "Score the confidences in files, whoever wrote them.",
}
# As `LightningCLI.subcommands()` names them, which takes seconds to import.
LIGHTNING_COMMANDS = ("fit", "validate", "test", "predict")


def command(name: str) -> Callable[..., None]:
    """The function behind one of the commands beside those of Lightning; imported when it is asked for."""
    found: Callable[..., None] = getattr(import_module(f"vlcal.commands.{name}"), name)
    return found


def run_command(name: str, args: list[str]) -> None:
    """Run a command with its arguments, which `doctor` reads itself as `fit` does."""
    function = command(name)
    if [*get_type_hints(function)] == ["args", "return"]:
        function(args)
    else:
        given = vars(command_parser(name).parse_args(args))
        function(*[given.pop(placed) for placed in positional(function)], **given)


def positional(function: Callable[..., None]) -> list[str]:
    """The parameters of a command that stand behind its name: those that Python takes by position alone."""
    parameters = inspect.signature(function).parameters
    return [name for name, each in parameters.items() if each.kind is each.POSITIONAL_ONLY]


def command_parser(name: str) -> ArgumentParser:
    """The parser of a command: positional parameters and a list of files stand behind its name, options elsewhere."""
    function = command(name)
    about = docstring_parser.parse(function.__doc__ or "")
    parser = ArgumentParser(prog=f"vlcal {name}", description=COMMANDS[name], allow_abbrev=False, exit_on_error=False)
    files: set[str | int] = {name for name, kind in get_type_hints(function).items() if kind == list[Path]}
    for described in about.params:
        if described.arg_name in files:
            parser.add_argument(described.arg_name, nargs="+", type=Path, help=described.description)
    described_as = {one.arg_name: one.description for one in about.params}
    hints, signature = get_type_hints(function), inspect.signature(function).parameters
    for placed in positional(function):
        optional = signature[placed].default is None
        parser.add_argument(placed, nargs="?" if optional else None, type=hints[placed], help=described_as[placed])
    parser.add_function_arguments(function, as_group=False, skip=files | {*positional(function)})
    return parser


def main(args: list[str] | None = None) -> None:
    """Run one command; the user's errors end it with one line, anything else with its traceback."""
    given = sys.argv[1:] if args is None else args
    try:
        check_command(given)
        if given[0] in COMMANDS:
            run_command(given[0], given[1:])
        else:
            from vlcal.commands.trainer import Cli

            Cli(args, about=f"{ABOUT} Beside the subcommands below: {', '.join(COMMANDS)}; each has its --help.")
    except ArgumentError as error:
        sys.stderr.write(f"vlcal: error: {_refused_argument(error)}\n")
        sys.exit(2)
    except Exception as error:
        # jsonargparse raises another error from what a part refused while it was made.
        refusal = next((one for one in causes(error) if isinstance(one, UserError)), None)
        if refusal is not None:
            sys.exit(f"vlcal: error: {refusal}")
        raise


def check_command(given: list[str]) -> None:
    """Refuse a command that does not exist.

    Raises:
        UserError: With all commands, and the one that was probably meant.
    """
    known = [*LIGHTNING_COMMANDS, *COMMANDS]
    if given and (given[0] in known or given[0].startswith("-")):
        return
    likely = get_close_matches(given[0], known, n=1) if given else []
    came = [repr(given[0]) if given else "none", *(f"did you mean {name!r}?" for name in likely)]
    raise UserError(f"the command must be one of {', '.join(known)}; got {', '.join(came)}")


def _refused_argument(error: BaseException) -> str:
    """The innermost error of a parser and the key it is about, in one line: `model.sampling: ...`.

    jsonargparse wraps an error once for each level of the config, `Parser key "KEY":` and the rest indented below it.
    """
    wrapped = [*causes(error)]
    keys = [match[1] for match in (re.match(r'Parser key "(\S+)":\n', str(one)) for one in wrapped) if match]
    place = ".".join(dict.fromkeys(keys))
    return " ".join(f"{place}: {wrapped[-1]}".removeprefix(": ").split())
