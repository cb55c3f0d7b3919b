"""The error that is the user's to mend."""

from __future__ import annotations

from collections.abc import Iterator

# CUDA, ROCm, XPU and MPS; cuBLAS; the allocator of the CPU
EXHAUSTED = ("out of memory", "status_alloc_failed", "can't allocate memory")


class UserError(ValueError):
    """A setting, a file or a row is not what it must be; the message names it, the rule, what came and the way out.

    It ends a command with its message alone. Any other error is a fault of the program and keeps its traceback.

    Args:
        message: One line. A worker of a DataLoader hands its error over as text, the traceback ahead of the message; of
            that the message is taken.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{UserError.__module__}.{UserError.__name__}: ")[2].strip())


class NonFiniteError(UserError):
    """Numbers of a pass are NaN or infinite. A training step that meets them is skipped; anything else ends."""


class TooLittleMemoryError(UserError):
    """Memory ran out where nothing smaller can be done at once; what is left is to change a setting."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory of a device, or of the host, ran out.

    Devices word it differently, and libraries below torch raise no class of their own for it.
    """
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in EXHAUSTED)


def one_line(error: BaseException) -> str:
    """The message of an error of another library, in one line; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised `from`, the innermost last.

    What was raised while another error was handled (`__context__`) is a fault of its own, and ends the chain.
    """
    while error is not None:
        yield error
        error = error.__cause__
