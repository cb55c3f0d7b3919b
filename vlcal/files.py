"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from vlcal.errors import UserError


class AtomicFile:
    """A file that is written beside its final place and moved there when it is complete.

    A reader sees the earlier file or the new one, never a part: a full disk, an error or a kill leaves what was there.
    As a context manager it publishes at the end, and discards if the block raises.

    Args:
        path: The final place; folders above it are made.

    Raises:
        UserError: If something other than a file is there, such as a folder or a device, or it cannot be written, there
            or later: a folder that nobody may write into, a full disk.
    """

    def __init__(self, path: Path) -> None:
        if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - those of Path raise for a name too long
            raise UserError(f"`path` must be a file or new, since it is replaced as a whole; {path} is neither.")
        self.path = path
        self._partial = path.with_name(f".{path.name}.partial")
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._partial.open("wb")

    def write(self, content: str | bytes) -> None:
        """Append text as UTF-8, or bytes as they are."""
        if isinstance(content, str):
            # Half a surrogate pair, which UTF-8 cannot hold, becomes its escape, which is how JSON spells it.
            content = content.encode("utf-8", errors="backslashreplace")
        with self._writing():
            self._file.write(content)

    def flush(self) -> None:
        """Hand what was written so far to the system, as writers of archives ask."""
        self._file.flush()

    def publish(self) -> None:
        """Move the complete file to its final place."""
        try:
            with self._writing():
                self._file.flush()
                os.fsync(self._file.fileno())  # or a power cut could keep the move and lose the content
        except UserError:
            self.discard()
            raise
        self._file.close()
        self._partial.replace(self.path)

    def discard(self) -> None:
        """Remove what was written; the earlier file stays."""
        with suppress(OSError):  # closing flushes what is thrown away, which fails again where the disk is full
            self._file.close()
        self._partial.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"`path` must be a file that can be written; {self.path} cannot: {error.strerror}."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.publish()
        else:
            self.discard()


def leaves(folder: Path, name: str) -> bool:
    """Whether a name in a file from elsewhere points out of a folder, by `..` or as an absolute path.

    Links are not followed: those within the folder are its owner's.

    >>> [leaves(Path("data"), name) for name in ("a.png", "b/../a.png", "../a.png", "/etc/passwd")]
    [False, False, True, True]
    """
    whole = folder.absolute()
    return not Path(os.path.normpath(whole / name)).is_relative_to(os.path.normpath(whole))


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file at once, whole or not at all."""
    with AtomicFile(path) as file:
        file.write(content)
