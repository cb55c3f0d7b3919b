"""Answers compared as mathematics."""

from __future__ import annotations

import re
from functools import cache

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.equality_process import EqualityProcess
from vlcal.verifiers.exact import normalized

# math-verify reads a word as a product of letters, and a product may be reordered: "act" would equal "cat".
_WORDS = re.compile(r"[^\W\d_]{3,}(?:\s+[^\W\d_]+)*")


class MathVerifier(Verifier):
    """The answer must equal the target as LaTeX or plain mathematics, by math-verify; words must be the same words.

    Args:
        timeout: Seconds for one comparison; an answer that takes longer counts as wrong.
    """

    def __init__(self, timeout: float = 5.0) -> None:
        if not timeout > 0:
            raise ValueError(f"`timeout` must be more than 0 seconds, since a comparison takes time; got {timeout}.")
        self.timeout = timeout

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both are known to be equal."""
        if answer is None or not answer.strip():
            return 0.0
        if normalized(answer) == normalized(target):
            return 1.0
        if _WORDS.fullmatch(target.strip()):
            return 0.0
        return float(_process(self.timeout).equal(answer, target))


@cache
def _process(timeout: float) -> EqualityProcess:
    """One child for all verifiers alike: every prompt may carry its own, and a child takes seconds to start."""
    return EqualityProcess(timeout)
