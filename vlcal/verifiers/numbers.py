"""Answers that are numbers, compared at a precision."""

from __future__ import annotations

import math
from abc import abstractmethod
from fractions import Fraction

from vlcal.errors import UserError
from vlcal.verifiers.base import Verifier
from vlcal.verifiers.reading import cleaned, folded, without_lead
from vlcal.verifiers.typed import number
from vlcal.verifiers.values import Number

_COUNTS = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "  # noqa: SIM905
    "eighteen nineteen twenty".split()
)


class NumberVerifier(Verifier):
    """The answer must be the number that the target is, by a rule of its own."""

    wanted = "a number"

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the answer is the number.

        Raises:
            UserError: If the target is none: the data set needs another verifier.
        """
        wanted = self.read(target)
        if wanted is None:
            raise UserError(
                f"`target` must be {self.wanted} for `{type(self).__name__}`; got {target!r}. "
                "Use `MathVerifier` for expressions, `ExactVerifier` for words."
            )
        given = self.read(answer or "")
        return float(given is not None and self.holds(wanted, given))

    def read(self, text: str) -> Number | None:
        """The number that a text is; None where it is none."""
        return number(text)

    @abstractmethod
    def holds(self, wanted: Number, given: Number) -> bool:
        """Whether the given number counts as the wanted one."""


class NumericVerifier(NumberVerifier):
    """The answer must be the target at the precision that the target is written with; `docs/verdicts.md` has the rule.

    Args:
        tolerance: Largest gap that counts beside, as a share of the target.
    """

    def __init__(self, tolerance: float = 0.0) -> None:
        self.tolerance = _share(tolerance)

    def holds(self, wanted: Number, given: Number) -> bool:
        """Whether they are equal at that precision, or within the tolerance.

        >>> NumericVerifier()("4.8e-19 J", "2.4e-19"), NumericVerifier()("0.5", "1/2")
        (0.0, 1.0)
        """
        return wanted.is_near(given, self.tolerance)


class CountVerifier(NumberVerifier):
    """The answer must be the target's whole number, in digits or as an English word up to twenty."""

    wanted = "a whole number"

    def read(self, text: str) -> Number | None:
        """The whole number, with or without the noun that it counts."""
        word = folded(text)
        if word in _COUNTS:
            return Number(word, Fraction(_COUNTS.index(word)))
        found = number(text)
        return found if found is not None and found.value.denominator == 1 else None

    def holds(self, wanted: Number, given: Number) -> bool:
        """Whether both are the same number.

        >>> CountVerifier()("three", "3"), CountVerifier()("3 cubes", "3"), CountVerifier()("3.5", "3")
        (1.0, 1.0, 0.0)
        """
        return wanted.value == given.value


class QuantityVerifier(NumberVerifier):
    """The answer must be a number that is the target once both are brought to one form; a unit must be the target's.

    The rules of MathVista (Lu et al., 2024).
    """

    @abstractmethod
    def form(self, value: Fraction) -> Fraction | int:
        """The number as it is compared."""

    def holds(self, wanted: Number, given: Number) -> bool:
        """Whether both have the same form."""
        return any(self.form(one.value) == self.form(wanted.value) for one in wanted.in_own_unit(given)[:1])


class RoundedVerifier(QuantityVerifier):
    """The answer must be the target when both are rounded.

    Args:
        digits: Decimal places that are kept.
    """

    def __init__(self, digits: int = 2) -> None:
        if digits < 0:
            raise UserError(f"`digits` must be 0 or more decimal places; got {digits}.")
        self.digits = digits

    def form(self, value: Fraction) -> Fraction | int:
        """Rounded.

        >>> RoundedVerifier(1)("3.14 cm", "3.1"), RoundedVerifier(2)("3.14", "3.1")
        (1.0, 0.0)
        """
        return round(value, self.digits)


class TruncatedVerifier(QuantityVerifier):
    """The answer must be the target when what stands behind the decimal point is cut off."""

    def form(self, value: Fraction) -> Fraction | int:
        """Without its decimal places.

        >>> TruncatedVerifier()("7.0 apples", "7"), TruncatedVerifier()("8", "7")
        (1.0, 0.0)
        """
        return math.trunc(value)


class RelaxedVerifier(Verifier):
    """Numbers may be off by a share of the target, a percentage being a hundredth; anything else must be the same text.

    The relaxed accuracy of ChartQA (Masry et al., 2022). Years are numbers to it: 2010 passes for 2015. `5%` is 0.05,
    and so not 5.

    Args:
        tolerance: Largest gap that still counts, as a share of the target.
    """

    def __init__(self, tolerance: float = 0.05) -> None:
        self.tolerance = _share(tolerance)

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the answer is near enough, or the same words.

        >>> RelaxedVerifier()("10.4", "10"), RelaxedVerifier()("50%", "0.5"), RelaxedVerifier()("**Red**.", "red")
        (1.0, 1.0, 1.0)
        """
        given, wanted = _as_share(answer or ""), _as_share(target)
        if given is None or wanted is None:
            return float(folded(answer or "") == folded(target) != "")
        return float(
            any(
                abs(one.value - wanted.value) <= self.tolerance * abs(wanted.value) for one in wanted.in_own_unit(given)
            )
        )


def _as_share(text: str) -> Number | None:
    """The number that a text is, divided by a hundred where it ends in a percent sign; None where it is none."""
    found = number(text)
    if found is None or not without_lead(cleaned(text)).endswith("%"):
        return found
    return Number(found.text, found.value / 100)


def _share(tolerance: float) -> Fraction:
    if not tolerance >= 0:
        raise UserError(f"`tolerance` must be 0 or more, since it bounds a distance; got {tolerance}.")
    # The decimal that was written, so that a gap of just 5 % of 100 is no more than it.
    return Fraction(str(tolerance))
