"""What stands behind a number: a unit of measurement, by pint, or the noun that is counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from tokenize import TokenError
from typing import Any

# Spelled without `\text`, one letter behind a number is a variable unless it is one of these, and so are two letters.
_SHORT = frozenset(
    "m g s h L l N J W V A K C F Ω cm mm km nm um dm kg mg ug mL ml dL dl cL cl kL mA kA mV kV MV kW MW GW mW kJ MJ GJ "  # noqa: SIM905
    "kN MN Pa Hz Wb mT eV lb oz ft in yd mi hr ms ns us ps Gy Sv ha dB kΩ MΩ mΩ μm µm μs μF μC μA μV mC mF nF pF nC nA "
    "mH".split()
)
_SPELLINGS = (
    (re.compile(r"\^\s*\{\s*([+-]?\s*\d+)\s*\}"), r"**\1"),
    (re.compile(r"\^\s*([+-]?\d+)"), r"**\1"),
    (re.compile(r"(?<=[a-zA-Z])([23])(?![\d*])"), r"**\1"),
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])|(?<=[A-Za-z])\.(?=[A-Za-z])"), "*"),
    (re.compile(r"\\(?:mu)(?![a-zA-Z])\s*"), "μ"),
    (re.compile(r"\\(?:Omega|ohm)(?![a-zA-Z])"), "Ω"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\bsq\.?\s+", re.IGNORECASE), "square "),
    (re.compile(r"\bcu\.?\s+", re.IGNORECASE), "cubic "),
    (re.compile(r"\bper\b", re.IGNORECASE), "/"),
    (re.compile(r"\bkm(?:ph|h)\b"), "km/h"),
    (re.compile(r"°\s+(?=[CF]\b)"), "°"),
    (re.compile(r"\bunits?\b", re.IGNORECASE), "drawing_unit"),  # pint reads `units` as a prefix and `nits`
)
_FACTOR = r"\(?[a-zA-Zµμ%°Ω_]+(?:\s?\*\*\s?[+-]?\d{1,3})?\)?"
_MEASURE = re.compile(rf"{_FACTOR}(?:(?:\s?[*/]\s?|\s){_FACTOR}){{0,9}}")
_NOUN = re.compile(r"[^\W\d_]+(?:[\s'-]+[^\W\d_]+){0,3}|[€£¥₹₩₽]")
# What stands behind a number and makes it another number, or no number.
_NO_UNIT = re.compile(
    r"\b(?:k|bn|hundreds?|thousands?|millions?|billions?|trillions?|dozens?|and|or|to|than|more|less|fewer|times|x|y|pi|e"
    r"|not|no|is|are|was|plus|minus|by|over|if|squared|cubed|sqrt|sin|cos|tan|log|ln|exp|mod|choose|of)\b",
    re.IGNORECASE,
)


# An unknown name is no error of its own in pint, and neither is what its tokenizer is not made for.
_NOT_A_UNIT = (
    *(ArithmeticError, AssertionError, AttributeError, KeyError, SyntaxError, TypeError, ValueError),
    TokenError,  # of a bracket that nothing closes
)


@dataclass(frozen=True)
class Unit:
    """A unit.

    Args:
        name: As pint writes it, or the noun in the singular.
        measured: Whether pint knows it, and so what it converts to.
    """

    name: str
    measured: bool

    def factor(self, wanted: Unit) -> Fraction | None:
        """By what a number in this unit is multiplied to be one in the other; None where nothing does."""
        if self == wanted:
            return Fraction(1)
        if not (self.measured and wanted.measured):
            return None
        return _factor(self.name, wanted.name)


PERCENT = Unit("percent", measured=True)


@lru_cache(maxsize=1024)
def unit_of(text: str, as_text: bool) -> Unit | None:
    r"""The unit that a text names; None where it is none.

    Args:
        text: What stands behind the number, cleaned.
        as_text: Whether it is set off from the number, by a space or by `\text`, and so can be a noun.

    >>> unit_of("cm^2", False), unit_of("apples", True), unit_of("x", True), unit_of("thousand apples", True)
    (Unit(name='centimeter ** (2)', measured=True), Unit(name='apple', measured=False), None, None)
    """
    spelled = text.strip().rstrip(".")
    if not spelled or len(spelled) > 60:
        return None
    for pattern, replacement in _SPELLINGS:
        spelled = pattern.sub(replacement, spelled)
    if _NO_UNIT.search(spelled):
        return None
    words = re.findall(r"[^\W\d_]+", spelled)
    short = all(len(word) > 2 or word in _SHORT for word in words)
    if (short or as_text) and _MEASURE.fullmatch(spelled):
        for name in dict.fromkeys((spelled, spelled.lower())):
            measured = _measured(name)
            if measured is not None:
                return Unit(measured, measured=True)
    noun = " ".join(spelled.casefold().split())
    return Unit(noun.removesuffix("s"), measured=False) if as_text and _NOUN.fullmatch(noun) else None


@cache
def _registry() -> Any:
    import pint  # a quarter of a second that no command should wait for unless it meets a unit

    registry: Any = pint.UnitRegistry(non_int_type=Fraction)
    registry.define("drawing_unit = [drawing]")
    return registry


def _measured(name: str) -> str | None:
    """The name of a unit as pint writes it; None where pint does not know it."""
    try:
        powers = _registry().parse_units_as_container(name)
    except _NOT_A_UNIT:
        return None
    return " * ".join(unit if power == 1 else f"{unit} ** ({power})" for unit, power in sorted(powers.items())) or None


def _factor(source: str, wanted: str) -> Fraction | None:
    registry = _registry()
    try:
        one = registry.Quantity(Fraction(1), source).to(wanted).magnitude
        two = registry.Quantity(Fraction(2), source).to(wanted).magnitude
    except _NOT_A_UNIT:
        return None
    # Scales with another zero (20 °C, 293.15 K) are not converted: no factor does it.
    return Fraction(one) if two == 2 * one else None
