"""Answers compared as numbers."""

from __future__ import annotations

import re

from vlcal.verifiers.base import Verifier

_DECIMAL = r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(rf"({_DECIMAL})(?:\s*/\s*({_DECIMAL}))?", re.ASCII)


def number(text: str) -> float | None:
    """The number a text consists of: decimal, with thousands separators, with an exponent or as a fraction, or None.

    >>> number("$-1,200.5$"), number("3/4"), number("seven"), number("1/0")
    (-1200.5, 0.75, None, None)
    """
    found = _NUMBER.fullmatch(text.strip().strip("$").strip().replace("\N{MINUS SIGN}", "-"))
    if found is None:
        return None
    numerator, denominator = (float((part or "1").replace(",", "")) for part in found.groups())
    return numerator / denominator if denominator else None


class NumericVerifier(Verifier):
    """The answer must be a number near enough to the target.

    Args:
        tolerance: Largest gap that still counts, relative to the target where that is beyond 1, absolute below.
    """

    def __init__(self, tolerance: float = 1e-6) -> None:
        if not tolerance >= 0:
            raise ValueError(f"`tolerance` must be 0 or more, since it bounds a distance; got {tolerance}.")
        self.tolerance = tolerance

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the answer is a number within the tolerance of the target.

        Raises:
            ValueError: If the target is no number: the data set needs another verifier.
        """
        wanted = number(target)
        if wanted is None:
            raise ValueError(
                f"`target` must be a number for `NumericVerifier`; got {target!r}. "
                "Use `MathVerifier` for expressions, `ExactVerifier` for words."
            )
        given = None if answer is None else number(answer)
        return float(given is not None and abs(given - wanted) <= self.tolerance * max(1.0, abs(wanted)))
