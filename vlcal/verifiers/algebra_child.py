"""The child's side of `AlgebraPool`: reads questions about expressions, writes one line for each.

A question is worked out in a fork of this process, which the kernel ends after the time limit, also in the middle of
arithmetic that no Python signal interrupts. So there is nothing to start again, and questions that never end share
their wait. Started as a file, not as a module, so that it loads math-verify and nothing else; standard output belongs
to the protocol, whatever a library writes there goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import select
import signal
import sys
from collections import deque
from typing import NoReturn

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Float, Rational, S, nan, oo, simplify, zoo
from sympy.core.relational import Relational

AT_A_TIME = 16
MEMORY = 2**31  # bytes of address space of a fork

# Units are read before; a box makes math-verify take the whole text as one expression.
_WHOLE = (
    LatexExtractionConfig(
        boxed_match_priority=0,
        normalization_config=NormalizationConfig(basic_latex=True, malformed_operators=True, nits=True, boxed="last"),
    ),
)
_DIGITS = 50  # of numerical values, far beyond what two exact expressions of a question can differ by
# By which sympy says that it cannot compare two things.
_REFUSALS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


def parsed(text: str) -> Basic | None:
    """The expression with decimals as the exact numbers they are; None where it cannot be read whole."""
    # Its own timeouts are off: they are signals, which do not interrupt arithmetic on huge integers. The parent's
    # clock replaces them.
    found = parse(rf"\boxed{{{text}}}", _WHOLE, fallback_mode="no_fallback", parsing_timeout=None)
    if not found:
        return None
    decimals = {item: Rational(str(item)) for item in found[0].atoms(Float)} if isinstance(found[0], Basic) else {}
    return found[0].xreplace(decimals) if decimals else found[0]


def equal(one: str, other: str) -> bool:
    """Whether two expressions mean the same; False where either cannot be read."""
    wanted, given = parsed(other), parsed(one)
    if wanted is None or given is None or isinstance(wanted, Relational) != isinstance(given, Relational):
        return False
    if isinstance(wanted, Expr) and isinstance(given, Expr):
        return _same(wanted.doit(), given.doit())
    return bool(verify(wanted, given, numeric_precision=100, float_rounding=30, timeout_seconds=None))


def _same(wanted: Expr, given: Expr) -> bool:
    """Whether two terms are equal, never by rounding: numbers only rule out what differs."""
    if wanted == given:
        return True
    if {wanted, given} & {nan, zoo, oo, -oo, S.ComplexInfinity}:
        return False
    difference = wanted - given
    if not difference.free_symbols:
        size = max(abs(wanted.evalf(_DIGITS)), abs(given.evalf(_DIGITS)))
        if abs(difference.evalf(_DIGITS)) > size * Rational(1, 10**30):
            return False
    return bool(simplify(difference) == 0 or difference.equals(0))


def number(text: str) -> str:
    """The value of an expression without variables, to forty digits; empty where it has none."""
    found = parsed(text)
    if not isinstance(found, Expr) or found.free_symbols:
        return ""
    value = found.doit().evalf(40)
    return str(value) if value.is_real and value.is_finite and value.is_number else ""


def answered(question: list[str]) -> str:
    """The reply to a question: its name and one or two expressions."""
    name, *texts = question
    try:
        return number(*texts) if name == "number" else str(int(equal(*texts)))
    except _REFUSALS:
        return ""


class Forks:
    """Questions in processes of their own, so many at a time; the others wait in their order.

    Args:
        timeout: Seconds for each.
        replies: File descriptor that replies are written to.
    """

    def __init__(self, timeout: float, replies: int) -> None:
        self.timeout, self.replies = timeout, replies
        self.waiting: deque[bytes] = deque()
        self.running: dict[int, int] = {}  # number of the question by process

    def ask(self, line: bytes) -> None:
        """Work a question out as soon as there is room."""
        self.waiting.append(line)
        self._fill()

    def reap(self) -> None:
        """Reply for those that ended without one, and let others start."""
        while self.running:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            number = self.running.pop(process)
            if status:
                self._reply(number, None)
            self._fill()

    def end(self) -> None:
        """End all that run."""
        for process in self.running:
            os.kill(process, signal.SIGKILL)

    def _fill(self) -> None:
        while self.waiting and len(self.running) < AT_A_TIME:
            number, *question = json.loads(self.waiting.popleft())
            process = os.fork()
            if not process:
                self._work(number, question)
            self.running[process] = number

    def _work(self, number: int, question: list[str]) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.setitimer(signal.ITIMER_REAL, self.timeout)
            with contextlib.suppress(ValueError, OSError):  # a lower limit may hold already
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
            reply = answered(question)
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._reply(number, reply)
            status = 0
        finally:
            os._exit(status)

    def _reply(self, number: int, reply: str | None) -> None:
        """One line, short enough for several processes to write theirs without mixing them."""
        os.write(self.replies, (json.dumps([number, reply]) + "\n").encode())


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent, which then closes the pipe
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off
    forks = Forks(float(sys.argv[1]), os.dup(1))
    os.dup2(2, 1)
    answered(["equal", r"\sqrt{12}", r"2\sqrt{3}"])  # loads what a first question loads, for all forks
    # The end of a fork wakes the loop by a byte in this pipe.
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    os.write(forks.replies, b"ready\n")
    begun = b""
    while True:
        readable, _, _ = select.select([0, ended], [], [])
        if ended in readable:
            os.read(ended, 4096)
            forks.reap()
        if 0 in readable:
            read = os.read(0, 65536)
            if not read:
                forks.end()
                return
            *lines, begun = (begun + read).split(b"\n")
            for line in lines:
                forks.ask(line)


if __name__ == "__main__":
    main()
