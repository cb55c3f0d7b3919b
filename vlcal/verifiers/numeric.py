"""Answers compared as numbers."""

from __future__ import annotations

import re

from vlcal.verifiers.base import Verifier

_DECIMAL = r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(rf"({_DECIMAL})(?:\s*/\s*({_DECIMAL}))?", re.ASCII)
_MARKS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|operatorname|circ|,|;|!|(?=[%$ ]))|[{}^]")
_UNIT = re.compile(r"(?:[^\W\d_]|[\s./·²³°%$])*")
# What stands behind a number and is no unit of it.
_NO_UNIT = re.compile(
    r"\b(?:k|bn|hundreds?|thousands?|millions?|billions?|trillions?|dozens?|and|or|to|than|more|less|fewer|times|x|y|pi|π)\b",
    re.IGNORECASE,
)


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


def quantity(text: str) -> float | None:
    r"""The number a text consists of, with or without a currency before it and a unit behind it; or None.

    Words that scale a number (`3 million`) are no units: what they mean is not guessed.

    >>> quantity(r"5\text{ cm}"), quantity("$5"), quantity(r"30^\circ"), quantity("3 or 4"), quantity("3 million")
    (5.0, 5.0, 30.0, None, None)
    """
    plain = _MARKS.sub(" ", text).strip().lstrip("$€£¥ ").replace("\N{MINUS SIGN}", "-")
    found = _NUMBER.match(plain)
    if found is None:
        return None
    unit = plain[found.end() :]
    if not _UNIT.fullmatch(unit) or _NO_UNIT.search(unit):
        return None
    return number(found[0])


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
