"""Equality and values of expressions, worked out in processes that can be killed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import Future
from fractions import Fraction
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("algebra_child.py")
_LONGEST = 600  # characters of a question
_REMEMBERED = 20_000  # replies


class AlgebraPool:
    """What is equal and what a value is, by math-verify in a child process that is started when needed.

    Simplifying what a policy wrote may take forever or all memory (`9^{9^{9^9}}`), inside arithmetic that no signal
    interrupts and, off the main thread, with no signals at all. The child works each question out in a fork of its
    own, several at a time, which the kernel ends: those that never end share their wait, hold up no other, and leave
    nothing to be started again. A reply is remembered.

    Args:
        timeout: Seconds for one question.

    Attributes:
        starts: How many children were started: one, unless somebody ends it.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.starts = 0
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self.reply = lru_cache(_REMEMBERED)(self._asked)
        """The reply to a question, its name and one or two expressions; None if it took too long or too much memory."""

    @property
    def child(self) -> int | None:
        """The process id of the child; None before the first question."""
        return None if self._child is None else self._child.process.pid

    def _asked(self, *question: str) -> str | None:
        try:
            reply = self._running().ask(question)
        except ChildEndedError:  # by the system, for want of memory, or by somebody: the question is sound
            reply = self._running().ask(question)
        if reply is None:
            logger.warning(
                "Counted as wrong, since it took more than %g s or too much memory: %.80r", self.timeout, question[1]
            )
        return reply

    def _running(self) -> _Child:
        with self._lock:
            if self._child is None or not self._child.alive():
                self._child = _Child(self.timeout)
                self.starts += 1
                weakref.finalize(self, self._child.stop)
            return self._child


class AnswerAlgebra:
    """The algebra for one answer: once a comparison took too long, no other is tried, and the answer is wrong.

    So an answer costs one limit at most, however many values it lists.
    """

    def __init__(self, pool: AlgebraPool) -> None:
        self._pool = pool
        self._given_up = False

    def equal(self, one: str, other: str) -> bool:
        """True where both are known to be equal; False where not, or where it took too long to say."""
        return self._reply("equal", one, other) == "1"

    def number(self, expression: str) -> Fraction | None:
        """The value of an expression without variables, to forty digits; None where it has none."""
        reply = self._reply("number", expression)
        return Fraction(reply) if reply else None

    def _reply(self, *question: str) -> str:
        if self._given_up or sum(map(len, question[1:])) > _LONGEST:
            return ""
        reply = self._pool.reply(*question)
        self._given_up = reply is None
        return reply or ""


def algebra(timeout: float) -> AnswerAlgebra:
    """The algebra for one answer, of one pool for all verifiers alike: every prompt may carry its own.

    A child takes seconds to start.
    """
    return AnswerAlgebra(algebra_pool(timeout, os.getpid()))


@cache
def algebra_pool(timeout: float, process: int) -> AlgebraPool:
    """A pool of this process: a fork must not talk into the pipes of its parent."""
    return AlgebraPool(timeout)


class ChildEndedError(RuntimeError):
    """The child ended before it replied."""


class _Child:
    """A child that has loaded its libraries, so that no question pays for that, and a thread that reads its replies."""

    def __init__(self, timeout: float) -> None:
        command = [sys.executable, "-P", str(_CHILD), repr(timeout)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            self.stop()
            self.process.stdout.close()
            raise RuntimeError(
                f"`{_CHILD.name}` must start for expressions to be compared, and ended with exit code "
                f"{self.process.returncode}; its error stands above."
            )
        self._numbers = count()
        self._replies = _Replies()
        threading.Thread(target=self._replies.hand_out, args=(self.process.stdout,), daemon=True).start()

    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def ask(self, question: tuple[str, ...]) -> str | None:
        """Its reply; None where the question took too long.

        Raises:
            ChildEndedError: If it ends first.
        """
        assert self.process.stdin is not None
        number = next(self._numbers)
        reply = self._replies.of(number)
        try:
            with self._replies.lock:  # one line at a time
                self.process.stdin.write((json.dumps([number, *question]) + "\n").encode())
                self.process.stdin.flush()
        except OSError as error:
            raise ChildEndedError("the child ended") from error
        return reply.result()

    def stop(self) -> None:
        """End it, and with it all that it works on."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it never read is flushed once more on closing
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Replies:
    """Replies that are waited for, by the number of their question."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._waiting: dict[int, Future[str | None]] = {}
        self._ended = False

    def of(self, number: int) -> Future[str | None]:
        """The reply to a question, once it is there."""
        reply = Future[str | None]()
        with self.lock:
            if self._ended:
                raise ChildEndedError("the child ended")
            self._waiting[number] = reply
        return reply

    def hand_out(self, lines: IO[bytes]) -> None:
        """Give each reply to whoever waits for it, until there are no more."""
        with lines:
            for line in lines:
                number, reply = json.loads(line)
                with self.lock:
                    asked = self._waiting.pop(number)
                asked.set_result(reply)
        with self.lock:
            self._ended = True
            left = list(self._waiting.values())
        for asked in left:
            asked.set_exception(ChildEndedError("the child ended"))
