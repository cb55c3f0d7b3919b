"""Answers that say how many."""

from __future__ import annotations

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.exact import normalized
from vlcal.verifiers.numeric import quantity

_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]


def count(text: str) -> int | None:
    """The whole number a text consists of, in digits or as an English word up to twenty; a noun may follow digits.

    >>> count("7"), count("7.0"), count("Seven"), count("7 cubes"), count("7.5")
    (7, 7, 7, 7, None)
    """
    word = normalized(text).rstrip(".")
    if word in _WORDS:
        return _WORDS.index(word)
    found = quantity(text)
    return int(found) if found is not None and found.is_integer() else None


class CountVerifier(Verifier):
    """The answer must be the target's whole number."""

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both are the same number.

        >>> CountVerifier()("three", "3"), CountVerifier()("3.5", "3")
        (1.0, 0.0)

        Raises:
            ValueError: If the target is no whole number.
        """
        wanted = count(target)
        if wanted is None:
            raise ValueError(f"`target` must be a whole number for `CountVerifier`; got {target!r}.")
        return float(count(answer or "") == wanted)
