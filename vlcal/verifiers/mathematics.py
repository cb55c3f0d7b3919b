"""Answers compared as what they are: numbers, units, lists, expressions, words."""

from __future__ import annotations

from fractions import Fraction

from vlcal.errors import UserError
from vlcal.verifiers.algebra import algebra
from vlcal.verifiers.base import Verifier
from vlcal.verifiers.typed import items, read
from vlcal.verifiers.values import Listing


class MathVerifier(Verifier):
    """The answer must equal the target: as a number with its unit, a pair, a list, an expression, or in words.

    Only expressions are compared by algebra, which is that of math-verify; docs/verdicts.md lists what is the same.

    Args:
        timeout: Seconds for one comparison; an answer of which one takes longer counts as wrong.
    """

    def __init__(self, timeout: float = 5.0) -> None:
        if not timeout > 0:
            raise UserError(f"`timeout` must be more than 0 seconds, since a comparison takes time; got {timeout}.")
        self.timeout = timeout

    def __call__(self, answer: str | None, target: str) -> float:
        r"""1 where both are known to be equal.

        >>> verifier = MathVerifier()
        >>> verifier(r"24\text{ cm}^2", "24"), verifier("5 g", "5 kg"), verifier("on", "no")
        (1.0, 0.0, 0.0)
        """
        if answer is None or not answer.strip():
            return 0.0
        return float(read(target).holds(read(answer), algebra(self.timeout)))


class DecimalVerifier(Verifier):
    """The answer must have the value of the target, up to an absolute gap. The rule of DynaMath (Zou et al., 2025).

    Sums, products, roots and multiples of pi are worked out; a unit is left out.

    Args:
        tolerance: Largest gap that still counts.
        timeout: Seconds for one expression; an answer that takes longer counts as wrong.
    """

    def __init__(self, tolerance: float = 1e-3, timeout: float = 5.0) -> None:
        if not tolerance >= 0:
            raise UserError(f"`tolerance` must be 0 or more, since it bounds a distance; got {tolerance}.")
        self.tolerance = tolerance
        self.timeout = timeout

    def __call__(self, answer: str | None, target: str) -> float:
        r"""1 where both values are near enough.

        >>> DecimalVerifier()(r"2\pi", "6.283"), DecimalVerifier()("6.2", "6.283")
        (1.0, 0.0)

        Raises:
            UserError: If the target has no value.
        """
        pool = algebra(self.timeout)
        wanted = read(target).decimal(pool)
        if wanted is None:
            raise UserError(f"`target` must be a number for `DecimalVerifier`; got {target!r}. Use `MathVerifier`.")
        given = read(answer or "").decimal(pool)
        # The decimal that was written: 6.283 and 6.284 are a thousandth apart, whatever floats say.
        return float(given is not None and abs(given - wanted) <= Fraction(str(self.tolerance)))


class ListVerifier(Verifier):
    """The answer must be the target's list of numbers or texts, in its order; brackets may be missing."""

    def __init__(self, timeout: float = 5.0) -> None:
        self.timeout = timeout

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both lists hold the same.

        >>> ListVerifier()("[1,2.0]", "[1, 2]"), ListVerifier()("2, 1", "[1, 2]")
        (1.0, 0.0)
        """
        given, wanted = items(answer or ""), items(target)
        compared = algebra(self.timeout)
        return float(bool(given) and Listing(target, wanted, "[]").holds(Listing(answer or "", given), compared))
