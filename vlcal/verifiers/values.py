r"""What an answer is: a number with a unit, a pair or list, an expression, or words; each compared by its own rule."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from vlcal.verifiers.units import PERCENT, Unit

_BRACED = re.compile(r"([_^])\s*\{\s*(\w)\s*\}")
_BLANK = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
_COMMA = re.compile(r"\s*([,;])\s*")
_SPELLED = re.compile(r"[\d\\^_(){}=+]")


class Algebra(Protocol):
    """Compares expressions."""

    def equal(self, one: str, other: str) -> bool:
        """Whether two expressions are known to be equal."""

    def number(self, expression: str) -> Fraction | None:
        """The value of an expression without variables, to forty digits; None where it has none."""


@dataclass(frozen=True)
class Value(ABC):
    """The value of an answer or a target.

    Args:
        text: As it was written, cleaned.
        name: The variable it is said to be the value of; empty where there is none.
    """

    text: str
    name: str = field(default="", kw_only=True)

    def holds(self, given: Value, algebra: Algebra) -> bool:
        """Whether the given value is this one, which is the target."""
        if self.name and given.name and self.name != given.name:
            return False
        return _tight(self.text) == _tight(given.text) or self._holds(given, algebra)

    def decimal(self, algebra: Algebra) -> Fraction | None:
        """The number it comes to, without its unit; None where it is no number."""
        return None

    @abstractmethod
    def _holds(self, given: Value, algebra: Algebra) -> bool:
        """As `holds`, for a value that is written in another way."""


@dataclass(frozen=True)
class Words(Value):
    """Anything that is read as a text; the same words in the same order, whatever their case."""

    def _holds(self, given: Value, algebra: Algebra) -> bool:
        return isinstance(given, Words) and _words(self.text) == _words(given.text) != ""


@dataclass(frozen=True)
class Number(Value):
    """A number, exact or a decimal.

    Args:
        value: The number.
        place: Power of ten of the last digit of a decimal; None for whole numbers and fractions, which are exact.
        unit: What it counts, if it says so.
    """

    value: Fraction
    place: int | None = None
    unit: Unit | None = None

    def decimal(self, algebra: Algebra) -> Fraction | None:
        return self.value

    @property
    def digits(self) -> int:
        """Significant digits of a decimal; 0 for an exact number."""
        if self.place is None:
            return 0
        return len(str(abs(int(self.value / Fraction(10) ** self.place))))

    def is_near(self, given: Number, tolerance: Fraction = Fraction(0)) -> bool:
        """Whether a number is this one at the precision it is written with, or within a share of it.

        A decimal of three or more digits holds every number that rounds to it. An exact number holds a decimal of six
        or more digits that it rounds to. Otherwise both must be equal.
        """
        return any(self._is_near(number, tolerance) for number in self.in_own_unit(given))

    def _is_near(self, given: Number, tolerance: Fraction) -> bool:
        gap = abs(given.value - self.value)
        if self.place is not None and self.digits >= 3:
            slack = Fraction(10) ** self.place / 2
        elif self.place is None and given.place is not None and given.digits >= 6:
            slack = Fraction(10) ** given.place / 2
        else:
            slack = Fraction(0)
        return gap <= max(slack, tolerance * abs(self.value))

    def in_own_unit(self, given: Number) -> Sequence[Number]:
        """The number in the unit of this one; several where a percentage is meant as such or as a share, or none."""
        if self.unit is not None and given.unit is not None:
            factor = given.unit.factor(self.unit)
            return () if factor is None else (given.times(factor),)
        if self.unit == PERCENT:
            return given, given.times(Fraction(100))
        if given.unit == PERCENT:
            return given, given.times(Fraction(1, 100))
        return (given,)

    def times(self, factor: Fraction) -> Number:
        """The number multiplied; exact unless the factor is 1."""
        return self if factor == 1 else Number(self.text, self.value * factor)

    def _holds(self, given: Value, algebra: Algebra) -> bool:
        if isinstance(given, Number):
            return self.is_near(given)
        if not isinstance(given, Expression):
            return False
        if self.place is None and (self.unit is None or given.unit is None or self.unit == given.unit):
            return algebra.equal(given.formula, _formula(self.value))
        found = algebra.number(given.formula)
        return found is not None and self.is_near(Number(given.text, found, unit=given.unit))


@dataclass(frozen=True)
class Expression(Value):
    """A term, an equation, a matrix: what takes algebra to compare.

    Args:
        formula: What the algebra reads.
        unit: What it counts, if it says so.
    """

    formula: str
    unit: Unit | None = None

    def decimal(self, algebra: Algebra) -> Fraction | None:
        return algebra.number(self.formula)

    def _holds(self, given: Value, algebra: Algebra) -> bool:
        if not isinstance(given, Number | Expression):
            return False
        factor = Fraction(1)
        if self.unit is not None and given.unit is not None:
            converted = given.unit.factor(self.unit)
            if converted is None:
                return False
            factor = converted
        if isinstance(given, Number) and given.place is not None:
            found = algebra.number(self.formula)
            return found is not None and Number(self.text, found).is_near(given.times(factor))
        formula = _formula(given.value) if isinstance(given, Number) else given.formula
        return algebra.equal(formula if factor == 1 else rf"({formula})\times{_formula(factor)}", self.formula)


@dataclass(frozen=True)
class Listing(Value):
    """Several values.

    Args:
        items: The values.
        brackets: What opens and closes it, such as `[)`; empty where nothing does.
    """

    items: tuple[Value, ...]
    brackets: str = ""

    def _holds(self, given: Value, algebra: Algebra) -> bool:
        if not isinstance(given, Listing):
            given = Listing(given.text, (given,))
        if len(given.items) != len(self.items) or (self.brackets and given.brackets not in ("", self.brackets)):
            return False
        if self.brackets not in ("", "{}"):
            return all(one.holds(other, algebra) for one, other in zip(self.items, given.items, strict=True))
        left = list(given.items)
        for item in self.items:
            same = next((place for place, other in enumerate(left) if item.holds(other, algebra)), None)
            if same is None:
                return False
            del left[same]
        return True


def _formula(value: Fraction) -> str:
    """An exact number in LaTeX."""
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _tight(text: str) -> str:
    """A text in which blanks do not matter if it is spelled with more than letters."""
    text = _BRACED.sub(r"\1\2", text)
    return _BLANK.sub("", text) if _SPELLED.search(text) else text


def _words(text: str) -> str:
    """Words as they are compared."""
    text = _COMMA.sub(r"\1 ", _tight(text)).strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    return text.casefold()
