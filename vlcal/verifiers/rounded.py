"""Answers that are numbers of a given precision. The rules of MathVista (Lu et al., 2024)."""

from __future__ import annotations

import math
from abc import abstractmethod

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.numeric import quantity


class QuantityVerifier(Verifier):
    """The answer must be a number, with or without a unit, that is the target once both are brought to one form."""

    @abstractmethod
    def form(self, value: float) -> float:
        """The number as it is compared."""

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both are the same in that form.

        Raises:
            ValueError: If the target is no number.
        """
        wanted = quantity(target)
        if wanted is None:
            raise ValueError(f"`target` must be a number for `{type(self).__name__}`; got {target!r}.")
        given = quantity(answer or "")
        return float(given is not None and math.isfinite(given) and self.form(given) == self.form(wanted))


class RoundedVerifier(QuantityVerifier):
    """The answer must be the target when both are rounded.

    Args:
        digits: Decimal places that are kept.
    """

    def __init__(self, digits: int = 2) -> None:
        if digits < 0:
            raise ValueError(f"`digits` must be 0 or more decimal places; got {digits}.")
        self.digits = digits

    def form(self, value: float) -> float:
        """Rounded.

        >>> RoundedVerifier(1)("3.14 cm", "3.1"), RoundedVerifier(2)("3.14", "3.1")
        (1.0, 0.0)
        """
        return round(value, self.digits)


class TruncatedVerifier(QuantityVerifier):
    """The answer must be the target when what stands behind the decimal point is cut off."""

    def form(self, value: float) -> float:
        """Without its decimal places.

        >>> TruncatedVerifier()("7.0 apples", "7"), TruncatedVerifier()("8", "7")
        (1.0, 0.0)
        """
        return math.trunc(value)
