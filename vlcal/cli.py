"""The command line: `vlcal fit | validate | test | predict --config FILE`, and the few commands beside it."""

from __future__ import annotations

import inspect
import sys
from difflib import get_close_matches
from typing import get_type_hints

from jsonargparse import ArgumentError

from vlcal.commands.catalogue import COMMANDS, EVERY_COMMAND, LIGHTNING_COMMANDS, command, command_parser, positional
from vlcal.commands.foreign import mute
from vlcal.errors import UserError, causes
from vlcal.version import VERSION

ABOUT = "Teaches vision-language models to say how sure they are of what they see and of what they conclude."
HELP = ("-h", "--help")
# What is most wanted; every key takes the seconds in which all that may be named is imported.
BRIEF = """usage: vlcal {name} --config FILE [OPTIONS]

{about}

options:
  --config FILE       An experiment; a later file changes what an earlier one says.
  --ckpt_path FILE    Checkpoint to use; `last` takes the latest of the run.
  --print_config      Show every setting, defaults included, and stop.
  --KEY VALUE         Another value for a key, such as --trainer.max_epochs 3 or --data.init_args.batch_size 8.
  --KEY.help CLASS    What can be set of a part, such as --model.help vlcal.modules.ReinforcementModule.

All keys: vlcal {name} --config FILE --help"""


def run_command(name: str, args: list[str]) -> None:
    """Run a command with its arguments, which `doctor` reads itself as `fit` does."""
    function = command(name)
    if [*get_type_hints(function)] == ["args", "return"]:
        if any(word in HELP for word in args):
            _say(f"usage: vlcal {name} --config FILE [OPTIONS]\n\n{inspect.getdoc(function)}")
        else:
            function(args)
    else:
        given = vars(command_parser(name).parse_args(args))
        function(*[given.pop(placed) for placed in positional(function)], **given)


def main(args: list[str] | None = None) -> None:
    """Run one command; the user's errors end it with one line, anything else with its traceback."""
    given = sys.argv[1:] if args is None else args
    mute()
    try:
        check_command(given)
        if given[0] in HELP:
            _say(overview())
        elif given[0] == "--version":
            _say(f"vlcal {VERSION}")
        elif given[0] in LIGHTNING_COMMANDS and len(given) == 2 and given[1] in HELP:
            _say(BRIEF.format(name=given[0], about=LIGHTNING_COMMANDS[given[0]]))
        elif given[0] in COMMANDS:
            run_command(given[0], given[1:])
        else:
            from vlcal.commands.trainer import Cli

            Cli(args, about=ABOUT)
    except ArgumentError as error:
        from vlcal.commands.refusals import refused_argument

        sys.stderr.write(f"vlcal: error: {refused_argument(error)}\n")
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
    known = [*EVERY_COMMAND]
    if given and (given[0] in known or given[0].startswith("-")):
        return
    likely = get_close_matches(given[0], known, n=1) if given else []
    came = [repr(given[0]) if given else "none", *(f"did you mean {name!r}?" for name in likely)]
    raise UserError(f"the command must be one of {', '.join(known)}; got {', '.join(came)}")


def overview() -> str:
    """What `vlcal --help` says: every command with its line."""
    listed = "\n".join(f"  {name:<12}{said}" for name, said in EVERY_COMMAND.items())
    return (
        f"usage: vlcal COMMAND [OPTIONS]\n\n{ABOUT}\n\ncommands:\n{listed}\n\n"
        "options:\n  --help    Show this, or the options of a command behind its name.\n  --version Show the version."
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.exit(0)
