"""Equality and values of expressions, worked out in processes that can be killed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import weakref
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path

logger = logging.getLogger(__name__)

CHILDREN = min(4, max(2, os.cpu_count() or 2))
_CHILD = Path(__file__).with_name("algebra_child.py")
_LONGEST = 600  # characters of a question
_REMEMBERED = 20_000  # replies


class AlgebraPool:
    """What is equal and what a value is, by math-verify in a few child processes that are started when needed.

    Simplifying what a policy wrote may take forever or all memory (`9^{9^{9^9}}`), inside arithmetic that no signal
    interrupts and, off the main thread, with no signals at all. A child can be killed from anywhere. Several threads
    may ask at a time; each has a child to itself, so that one that hangs holds up no other. A reply is remembered.

    Args:
        timeout: Seconds for one question; after that the child is killed, and the next question starts another.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        # The child used last is taken first: as many are started as are asked at a time.
        self._idle: queue.LifoQueue[subprocess.Popen[str] | None] = queue.LifoQueue()
        for _ in range(CHILDREN):
            self._idle.put(None)
        self._remembered = lru_cache(_REMEMBERED)(self._asked)

    def equal(self, one: str, other: str) -> bool:
        """True where both are known to be equal; False where not, or where it took too long to say."""
        return len(one) + len(other) <= _LONGEST and self._remembered("equal", one, other) == "1"

    def number(self, expression: str) -> Fraction | None:
        """The value of an expression without variables, to forty digits; None where it has none."""
        reply = self._remembered("number", expression) if len(expression) <= _LONGEST else ""
        return Fraction(reply) if reply else None

    def _asked(self, *question: str) -> str:
        child = self._idle.get()
        try:
            child = child if child is not None and child.poll() is None else self._started()
            reply = _reply(child, json.dumps(question), self.timeout)
            if not reply:
                _stop(child)
                child = None
                logger.warning("Counted as wrong, since it took more than %g s: %.80r", self.timeout, question[1])
            return reply.strip()
        finally:
            self._idle.put(child)

    def _started(self) -> subprocess.Popen[str]:
        """A child that has loaded its libraries, so that no question pays for that."""
        child = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert child.stdout is not None
        weakref.finalize(self, _stop, child)
        if child.stdout.readline() != "ready\n":
            _stop(child)
            raise RuntimeError(
                f"`{_CHILD.name}` must start for expressions to be compared, and ended with exit code "
                f"{child.returncode}; its error stands above."
            )
        return child


def algebra(timeout: float) -> AlgebraPool:
    """One pool for all verifiers alike: every prompt may carry its own, and a child takes seconds to start."""
    return _pool(timeout, os.getpid())


@cache
def _pool(timeout: float, process: int) -> AlgebraPool:
    """A pool of this process: a fork must not talk into the pipes of its parent."""
    return AlgebraPool(timeout)


def _reply(child: subprocess.Popen[str], question: str, timeout: float) -> str:
    """The line that a child replies with; empty if there was none in time."""
    assert child.stdin is not None
    assert child.stdout is not None
    clock = threading.Timer(timeout, child.kill)
    clock.start()
    try:
        child.stdin.write(question + "\n")
        child.stdin.flush()
        return child.stdout.readline()
    except BrokenPipeError:  # killed before it had read everything
        return ""
    finally:
        clock.cancel()
        clock.join()


def _stop(child: subprocess.Popen[str]) -> None:
    """End a child and give back its pipes."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what it never read is flushed once more on closing
                pipe.close()
