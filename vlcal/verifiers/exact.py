"""Answers compared as texts."""

from __future__ import annotations

from vlcal.verifiers.base import Verifier


def normalized(text: str) -> str:
    """A text without what rarely matters: case, and white space beyond one space between words.

    >>> normalized("  Two   Cats ")
    'two cats'
    """
    return " ".join(text.split()).casefold()


class ExactVerifier(Verifier):
    """The answer must be the target, letter for letter, but for case and white space."""

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both texts are the same.

        >>> ExactVerifier()(" Blue ", "blue"), ExactVerifier()("light blue", "blue")
        (1.0, 0.0)
        """
        return float(answer is not None and normalized(answer) == normalized(target))
