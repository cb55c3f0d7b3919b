"""The child's side of `AlgebraPool`: reads questions about expressions, writes one line for each.

Started as a file, not as a module, so that it loads math-verify and nothing else; standard output belongs to the
protocol, whatever a library writes there goes to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Float, Rational, S, nan, oo, simplify, zoo
from sympy.core.relational import Relational

# Units are read before; a box makes math-verify take the whole text as one expression.
_WHOLE = (
    LatexExtractionConfig(
        boxed_match_priority=0,
        normalization_config=NormalizationConfig(basic_latex=True, malformed_operators=True, nits=True, boxed="last"),
    ),
)
_DIGITS = 50  # of numerical values, far beyond what two exact expressions of a question can differ by
# By which sympy says that it cannot compare two things.
_REFUSALS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


def parsed(text: str) -> Basic | None:
    """The expression with decimals as the exact numbers they are; None where it cannot be read whole."""
    # Its own timeouts are off: they are signals, which do not interrupt arithmetic on huge integers. The parent's
    # clock replaces them.
    found = parse(rf"\boxed{{{text}}}", _WHOLE, fallback_mode="no_fallback", parsing_timeout=None)
    if not found:
        return None
    decimals = {item: Rational(str(item)) for item in found[0].atoms(Float)} if isinstance(found[0], Basic) else {}
    return found[0].xreplace(decimals) if decimals else found[0]


def equal(one: str, other: str) -> bool:
    """Whether two expressions mean the same; False where either cannot be read."""
    wanted, given = parsed(other), parsed(one)
    if wanted is None or given is None or isinstance(wanted, Relational) != isinstance(given, Relational):
        return False
    if isinstance(wanted, Expr) and isinstance(given, Expr):
        return _same(wanted.doit(), given.doit())
    return bool(verify(wanted, given, numeric_precision=100, float_rounding=30, timeout_seconds=None))


def _same(wanted: Expr, given: Expr) -> bool:
    """Whether two terms are equal, never by rounding: numbers only rule out what differs."""
    if wanted == given:
        return True
    if {wanted, given} & {nan, zoo, oo, -oo, S.ComplexInfinity}:
        return False
    difference = wanted - given
    if not difference.free_symbols:
        size = max(abs(wanted.evalf(_DIGITS)), abs(given.evalf(_DIGITS)))
        if abs(difference.evalf(_DIGITS)) > size * Rational(1, 10**30):
            return False
    return bool(simplify(difference) == 0 or difference.equals(0))


def number(text: str) -> str:
    """The value of an expression without variables, to forty digits; empty where it has none."""
    found = parsed(text)
    if not isinstance(found, Expr) or found.free_symbols:
        return ""
    value = found.doit().evalf(40)
    return str(value) if value.is_real and value.is_finite and value.is_number else ""


def answered(question: list[str]) -> str:
    """The reply to a question: its name and one or two expressions."""
    name, *texts = question
    try:
        return number(*texts) if name == "number" else str(int(equal(*texts)))
    except _REFUSALS:
        return ""


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent, which then closes the pipe
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    replies.write("ready\n")
    replies.flush()
    for line in sys.stdin:
        replies.write(answered(json.loads(line)) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
