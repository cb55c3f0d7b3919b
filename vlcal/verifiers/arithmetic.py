r"""Answers that are sums, products, roots and multiples of pi, compared as decimal numbers."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.numeric import quantity

_LONGEST = 200  # characters: a number is short, and the parser of Python is not made for what a policy may write
_ALLOWED = re.compile(r"[\d.+\-*/() ]*", re.ASCII)
_BRACED = r"\{([^{}]*)\}"
_SPELLINGS = (
    (re.compile(rf"\\[dt]?frac\s*{_BRACED}\s*{_BRACED}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:cdot|times)(?![a-zA-Z])|×|·"), "*"),
    (re.compile(r"\N{MINUS SIGN}"), "-"),
    (re.compile(r"\\left|\\right|[$,;!\\](?=\s|$)|\$"), ""),
    (re.compile(r"(?<=[\d)])\s*(?=P|R|\()"), "*"),
)
_ROOT = re.compile(rf"(?:\\sqrt\s*{_BRACED}|√\s*(\d+(?:\.\d+)?))")
_PI = re.compile(r"\\pi(?![a-zA-Z])|π|\bpi\b")
_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def value(text: str) -> float | None:
    r"""The decimal value of a number, with or without a unit, or of arithmetic over pi and square roots; or None.

    >>> value("3/4"), value(r"\frac{1}{2}"), value("5 cm"), value("x + 1")
    (0.75, 0.5, 5.0, None)
    >>> round(value("2π"), 3), round(value(r"3\sqrt{2}"), 3)
    (6.283, 4.243)
    """
    plain = quantity(text)
    if plain is not None or len(text) > _LONGEST:
        return plain
    text = _PI.sub(f"P({math.pi})", text)
    text = _ROOT.sub(lambda found: f"R({_root(found[1] or found[2])})", text)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return _evaluated(text.replace("P", "").replace("R", ""))


def _root(text: str) -> float:
    inside = quantity(text)
    return math.nan if inside is None or inside < 0 else math.sqrt(inside)


def _evaluated(expression: str) -> float | None:
    if not expression.strip() or not _ALLOWED.fullmatch(expression):
        return None
    try:
        found = _computed(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError, MemoryError):
        return None  # not arithmetic after all, such as `1 2` or `5/0`
    return found if math.isfinite(found) else None


def _computed(node: ast.expr) -> float:
    """The value of a tree without names, calls and powers."""
    match node:
        case ast.Constant(value=int() | float() as constant):
            return float(constant)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_computed(operand))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_computed(left), _computed(right))
    raise ValueError(f"`{ast.unparse(node)}` is no arithmetic.")


class DecimalVerifier(Verifier):
    """The answer must have the value of the target, up to an absolute gap. The rule of DynaMath (Zou et al., 2025).

    Args:
        tolerance: Largest gap that still counts.
    """

    def __init__(self, tolerance: float = 1e-3) -> None:
        if not tolerance >= 0:
            raise ValueError(f"`tolerance` must be 0 or more, since it bounds a distance; got {tolerance}.")
        self.tolerance = tolerance

    def __call__(self, answer: str | None, target: str) -> float:
        r"""1 where both values are near enough.

        >>> DecimalVerifier()(r"2\pi", "6.283"), DecimalVerifier()("6.2", "6.283")
        (1.0, 0.0)

        Raises:
            ValueError: If the target has no value.
        """
        wanted = value(target)
        if wanted is None:
            raise ValueError(f"`target` must be a number for `DecimalVerifier`; got {target!r}. Use `MathVerifier`.")
        given = value(answer or "")
        # The gap itself is rounded: 6.283 and 6.284 are a thousandth apart, whatever floats say.
        return float(given is not None and round(abs(given - wanted), 12) <= self.tolerance)
