"""The child's side of `EqualityProcess`: reads pairs of expressions, writes whether they are equal, one line each.

Started as a file, not as a module, so that it loads math-verify and nothing else; standard output belongs to the
protocol, whatever a library writes there goes to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys

from math_verify import parse, verify


def equal(answer: str, target: str) -> bool:
    """Whether two LaTeX or plain expressions mean the same; False where either cannot be read."""
    # The box makes math-verify read the whole text as one expression. Its own timeouts are off: they are signals,
    # which do not interrupt arithmetic on huge integers. The parent's clock replaces them.
    boxed = ("\\boxed{" + text.strip().strip("$") + "}" for text in (target, answer))
    wanted, given = (parse(text, parsing_timeout=None) for text in boxed)
    return bool(verify(wanted, given, timeout_seconds=None))


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent, which then closes the pipe
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    replies.write("ready\n")
    replies.flush()
    for line in sys.stdin:
        answer, target = json.loads(line)
        replies.write(f"{int(equal(answer, target))}\n")
        replies.flush()


if __name__ == "__main__":
    main()
