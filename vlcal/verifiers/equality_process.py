"""Equality of expressions, decided in a process that can be killed."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("equality_child.py")


class EqualityProcess:
    """Whether two expressions are equal, by math-verify in a child process that is started when first asked.

    Simplifying what a policy wrote may take forever or all memory (`9^{9^{9^9}}`), inside arithmetic that no signal
    interrupts and, off the main thread, with no signals at all. A child can be killed from anywhere.

    Args:
        timeout: Seconds for one question; after that the child is killed, and the next question starts another.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._end: Callable[[], object] | None = None

    def __reduce__(self) -> tuple[type[EqualityProcess], tuple[float]]:
        """Copies and pickles start a child of their own."""
        return type(self), (self.timeout,)

    def equal(self, answer: str, target: str) -> bool:
        """True where both are known to be equal; False where not, or where it took too long to say."""
        with self._lock:
            reply = self._ask(self._running(), json.dumps([answer, target]))
        if not reply:
            logger.warning("Counted as wrong, since it could not be compared in %g s: %.80r", self.timeout, answer)
        return reply == "1"

    def _ask(self, child: subprocess.Popen[str], question: str) -> str:
        """The child's reply; empty if there was none in time."""
        assert child.stdin is not None
        assert child.stdout is not None
        clock = threading.Timer(self.timeout, child.kill)
        clock.start()
        try:
            child.stdin.write(question + "\n")
            child.stdin.flush()
            reply = child.stdout.readline().strip()
        except BrokenPipeError:  # killed before it had read everything
            reply = ""
        finally:
            clock.cancel()
            clock.join()
        if not reply:
            self._child = None
        return reply

    def _running(self) -> subprocess.Popen[str]:
        """A child that lives and has loaded its libraries, so that no question pays for that."""
        if self._child is not None and self._child.poll() is None:
            return self._child
        if self._end is not None:
            self._end()
        child = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert child.stdout is not None
        if child.stdout.readline() != "ready\n":
            _stop(child)
            raise RuntimeError(
                f"`{_CHILD.name}` must start for expressions to be compared, and ended with exit code "
                f"{child.returncode}; its error stands above."
            )
        self._child, self._end = child, weakref.finalize(self, _stop, child)
        return child


def _stop(child: subprocess.Popen[str]) -> None:
    """End a child and give back its pipes."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what it never read is flushed once more on closing
                pipe.close()
