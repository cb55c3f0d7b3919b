"""A file appears whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vlcal.errors import UserError
from vlcal.files import AtomicFile, write_whole


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails and the process lives
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_text_and_bytes_appear_at_the_end_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with AtomicFile(path) as file:
        file.write("ü\ud800\n")
        file.write(b"\xff")
        assert not path.exists()
    assert path.read_bytes() == "ü\\ud800\n".encode() + b"\xff"
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


def test_an_error_midway_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "earlier")

    def fail_midway() -> None:
        with AtomicFile(path) as file:
            file.write("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file.txt", "earlier")]


@pytest.mark.parametrize("size", [100, 1_000_000])  # fails when it is flushed at the end, and within the write itself
def test_a_full_disk_leaves_the_earlier_file_and_nothing_else(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "earlier")
    with full_disk(50), pytest.raises(UserError, match="can be written; .*file.txt cannot: File too large"):
        write_whole(path, "x" * size)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file.txt", "earlier")]


def test_a_kill_leaves_the_earlier_file_and_the_next_write_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "earlier")
    code = (
        "import os, signal, sys; from pathlib import Path; from vlcal.files import AtomicFile\n"
        "file = AtomicFile(Path(sys.argv[1])); file.write('x' * 100_000); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[1], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "earlier"
    write_whole(path, "later")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file.txt", "later")]


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`path` must be a file or new.* is neither"):
        AtomicFile(tmp_path)


@pytest.mark.parametrize("name", ["file.txt/below.txt", "x" * 300, "../" * 20 + "proc/no/such"])
def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / "file.txt", "earlier")

    with pytest.raises(UserError, match="`path` must be a file that can be written; .* cannot: "):
        write_whole(tmp_path / name, "later")
    assert (tmp_path / "file.txt").read_text() == "earlier"
