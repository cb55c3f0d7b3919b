"""The error that is the user's to mend."""

from __future__ import annotations

from collections.abc import Iterator


class UserError(ValueError):
    """A setting, a file or a row is not what it must be; the message names it, the rule, what came and the way out.

    It ends a command with its message alone. Any other error is a fault of the program and keeps its traceback.
    """


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised `from`, the innermost last.

    What was raised while another error was handled (`__context__`) is a fault of its own, and ends the chain.
    """
    while error is not None:
        yield error
        error = error.__cause__
