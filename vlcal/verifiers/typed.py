r"""From a text to a typed value: where a number ends and its unit starts, what is a list, what is no mathematics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from vlcal.verifiers.reading import LONGEST, TEXT_CLOSE, TEXT_OPEN, marked, plain, without_lead
from vlcal.verifiers.units import Unit, unit_of
from vlcal.verifiers.values import Expression, Listing, Number, Value, Words

_TYPED, _FORMULA, _DEEPEST = 1000, 300, 20  # characters of a value, characters and open brackets of an expression

_DIGITS = r"(?:(?:\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)(?!\d)|\d+)(?:\.\d*)?|\.\d+)"
_POWER = r"10\s*\^\s*(?:\{\s*([+-]?\s*\d{1,4})\s*\}|([+-]?\d{1,4}))(?!\d)"
_NUMBER = re.compile(
    rf"([+-])?\s*[€£¥₹]?\s*(?:"
    rf"(?:(\d+)\s*)?\\frac\s*(?:\{{\s*([+-]?{_DIGITS})\s*\}}\s*\{{\s*([+-]?{_DIGITS})\s*\}}|(\d)\s*(\d))"
    rf"|(\d+)\s+(\d+)\s*/\s*(\d+)"
    rf"|{_POWER}"
    rf"|({_DIGITS})(?:[eE]([+-]?\d{{1,4}})(?!\d)|\s*(?:\\times|\\cdot|\*|[xX])\s*{_POWER}|\s*/\s*({_DIGITS}))?"
    rf")",
    re.ASCII,
)
_UNIT_START = re.compile(r"\s*[^\W\d_]|\s*[%°€£¥₹(\\Ω]")
_TAIL = re.compile(r"(?:°|%|(?<=[\s)}\d])[A-Za-z]{2,20}(?:\s[A-Za-z]{1,20}|/[A-Za-z]{1,20})?(?:\^\{?-?\d\}?)?)$")

_NAME = re.compile(rf"[A-Za-z\\{{}}()'\s{TEXT_OPEN}{TEXT_CLOSE}]{{1,80}}")
_SUBSCRIPT = re.compile(r"_\s*(?:\{\w{1,4}\}|\w)|(?<=[A-Za-z])\([\w, -]{1,8}\)")
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)|\\(?:approx|simeq|doteq|in)(?![a-zA-Z])")
_RELATION = re.compile(r"[<>≠]|\\(?:leq?|geq?|neq?|lt|gt|in|subset|to|sqrt|frac)(?![a-zA-Z])")
_ARITHMETIC = re.compile(r"(?:[\d\s.+\-*/^(){}°%]|\\(?:times|cdot|div|frac|sqrt)(?![a-zA-Z]))+")
_SEPARATOR = re.compile(rf"[,;]|[\s{TEXT_OPEN}](?:and|or)(?=[\s{TEXT_CLOSE}])|[(\[{{)\]}}]")

_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[a-zA-Z*]+\}|\\[a-zA-Z]+|\\.")
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|lg|exp|sqrt|max|min|pi"
_FUNCTION = re.compile(rf"(?<![a-zA-Z\\])(?:{_FUNCTIONS})(?![a-zA-Z])")
_MATHEMATICS = re.compile(r"[+\-*/^=<>!|≠:]|^\s*[\d.(]")
_NO_MATHEMATICS = re.compile(
    r"[^\W\d_]{3,}"  # a word
    r"|(?<!\S)(?:is|it|on|no|or|to|of|in|by|at|as|if|an|be|do|up|us|we|am|me|he|so|go|my)(?!\S)"
    r"|\d\s+[\d.]|\d_|^[A-Z]\s*\d[^+\-*/^=]*[A-Z]$"  # two numbers, a bearing
    r"|^[A-Za-z][\w(){}\s']*$"  # a symbol, a formula of chemistry
)
_SYMBOL = re.compile(r"[a-zA-Z]")
_PLAIN_ROOT = re.compile(r"(?<!\\)\bsqrt\s*\(([^()]*)\)")


def read(written: str) -> Value:
    r"""What a text says.

    >>> read(r"5\text{ cm}").unit.name, read("[3, 5]").brackets, type(read(r"2\sqrt{3}")).__name__, read("VI").text
    ('centimeter', '[]', 'Expression', 'VI')
    """
    # What is too long to be read is not remembered either.
    return Words(written) if len(written) > LONGEST else _remembered(written)


@lru_cache(maxsize=4096)
def _remembered(written: str) -> Value:
    return _read(marked(written), 0)


def number(written: str) -> Number | None:
    """The number that a text is; None where it is anything else.

    >>> str(number("-1,200.5").value), str(number("3/4").value), number("seven"), number("1/0")
    ('-2401/2', '3/4', None, None)
    """
    found = read(written)
    return found if isinstance(found, Number) else None


def items(written: str) -> tuple[Value, ...]:
    """The values of a list, with or without brackets around it; a single value is a list of one."""
    if len(written) > _TYPED:
        return (Words(written),)
    text = _stripped(marked(written))
    listed = _bracketed(text, 0)
    return tuple(_read(part, 1) for part in _parts(text)) if listed is None else listed.items


def _read(text: str, depth: int) -> Value:
    text = _stripped(text)
    whole = plain(text)
    if len(whole) > _TYPED or depth > 8:
        return Words(whole)
    inner = _inner(text)
    if inner is not None and inner[1] in ("()", "{}") and text[0] != "\\" and len(list(_parts(inner[0]))) == 1:
        return _read(inner[0], depth + 1)
    name, value = _assigned(text)
    if value != text:
        found = _read(value, depth + 1)
        if not isinstance(found, Words):
            return replace(found, name=name)
    return (
        _bracketed(text, depth) or _quantity(text) or _several(text, depth) or _expression(text, whole) or Words(whole)
    )


def _stripped(text: str) -> str:
    r"""A text without lead-ins, and without the marks of `\text` at its start, where no unit can stand."""
    text = text.strip()
    for _ in range(6):
        before = text
        if text.startswith(TEXT_OPEN):
            end = _closing(text)
            text = f"{text[1:end]} {text[end + 1 :]}"
        text = without_lead(text.strip())
        if text == before:
            break
    return text


def _closing(text: str) -> int:
    """The place of the mark that closes the one at the start."""
    depth = 0
    for place, symbol in enumerate(text):
        depth += (symbol == TEXT_OPEN) - (symbol == TEXT_CLOSE)
        if depth == 0:
            return place
    return len(text)


def _quantity(text: str) -> Number | None:
    found = _NUMBER.match(text)
    if found is None:
        return None
    rest = text[found.end() :]
    value = _value(found)
    unit = None
    if rest.strip(f"{TEXT_OPEN}{TEXT_CLOSE} "):
        apart = rest[0] in f" {TEXT_OPEN}"
        unit = unit_of(plain(rest), apart) if _UNIT_START.match(plain(rest)) else None
        value = None if unit is None else value
    return None if value is None else Number(plain(text), value[0], value[1], unit)


def _value(found: re.Match[str]) -> tuple[Fraction, int | None] | None:
    """Value and place of the last digit of a number; None where something is divided by zero."""
    sign, whole, top, bottom, one, other, mixed, over, under, *rest = found.groups()
    power, short_power, decimal, exponent, times, short_times, divisor = rest
    factor = Fraction(-1 if sign == "-" else 1)
    if power or short_power:
        return factor * Fraction(10) ** _whole(power or short_power), None
    if decimal is None or divisor is not None:
        before = _digits(whole or mixed or "0")
        upper, lower = _digits(top or one or over or decimal), _digits(bottom or other or under or divisor)
        return None if lower == 0 else (factor * (before + upper / lower), None)
    shift = _whole(exponent or times or short_times or "0")
    places = len(decimal.partition(".")[2])
    value = factor * _digits(decimal) * Fraction(10) ** shift
    return value, shift - places if places else None


def _whole(text: str) -> int:
    """A whole number whose sign may stand apart, by any white space."""
    return int("".join(text.split()))


def _digits(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip(".") or "0")


def _assigned(text: str) -> tuple[str, str]:
    """The variable that a value is said to be of, and the value: what follows the last equals sign."""
    signs = list(_EQUALS.finditer(text))
    if not signs or _RELATION.search(text[: signs[0].start()]) or (len(signs) > 1 and len(list(_parts(text))) > 1):
        return "", text
    name, value = text[: signs[0].start()].strip(), text[signs[-1].end() :].strip()
    named = _NAME.fullmatch(_SUBSCRIPT.sub("", name)) and re.search("[A-Za-z]", name)
    if not value or not (named or (_ARITHMETIC.fullmatch(name) and _ARITHMETIC.fullmatch(value))):
        return "", text
    symbol = "".join(char for char in plain(name) if char.isalnum())
    return symbol if len(symbol) == 1 else "", value


def _inner(text: str) -> tuple[str, str] | None:
    """What stands in the brackets around a text, and the brackets; None where there are none."""
    text = text.replace(r"\{", "{").replace(r"\}", "}").strip() if text.startswith(r"\{") else text
    if len(text) < 2 or text[0] not in "([{" or text[-1] not in ")]}":
        return None
    depth = 0
    for place, symbol in enumerate(text):
        depth += (symbol in "([{") - (symbol in ")]}")
        if depth == 0 and place < len(text) - 1:
            return None
    return (text[1:-1], text[0] + text[-1]) if depth == 0 else None


def _bracketed(text: str, depth: int) -> Listing | None:
    inner = _inner(text)
    if inner is None or not inner[0].strip():
        return None
    values = tuple(_read(part, depth + 1) for part in _parts(inner[0]))
    if inner[1] in ("()", "{}") and len(values) < 2 and not text.startswith(r"\{"):
        return None
    return Listing(plain(text), values, inner[1])


def _several(text: str, depth: int) -> Listing | None:
    """Values that no brackets hold together; words with commas are words."""
    signs = [text.replace(r"\pm", sign) for sign in "+-"] if text.count(r"\pm") == 1 else []
    values = [_read(part, depth + 1) for part in signs or _parts(text)] if signs or _SEPARATOR.search(text) else []
    if len(values) < 2 or any(isinstance(value, Words) and not _SYMBOL.fullmatch(value.text) for value in values):
        return None
    return Listing(plain(text), tuple(values))


def _parts(text: str) -> Iterator[str]:
    """What stands between separators that no bracket encloses."""
    depth = start = 0
    for found in _SEPARATOR.finditer(text):
        symbol = found[0]
        if symbol in "([{":
            depth += 1
        elif symbol in ")]}":
            depth -= 1
        elif depth == 0:
            if text[start : found.start()].strip():
                yield text[start : found.start()]
            start = found.end()
    if text[start:].strip():
        yield text[start:]


def _expression(text: str, whole: str) -> Expression | None:
    """Mathematics, with the unit behind it; None where it is words, or nothing that the algebra should be given."""
    if len(whole) > _FORMULA or _depth(whole) > _DEEPEST:
        return None
    body, unit = _measured(text)
    symbols = _FUNCTION.sub("+", _COMMAND.sub("+", body))
    if not _MATHEMATICS.search(symbols) or _NO_MATHEMATICS.search(symbols):
        return None
    return Expression(whole, _formula_of(body), unit)


def _measured(text: str) -> tuple[str, Unit | None]:
    r"""An expression and the unit behind it, set in `\text` or one of those that cannot be variables."""
    at = text.find(TEXT_OPEN)
    if at > 0:
        unit = unit_of(plain(text[at:]), True)
        if unit is not None:
            return text[:at].strip(), unit
    text = plain(text)
    tail = _TAIL.search(text)
    unit = unit_of(tail[0], False) if tail is not None else None
    return (
        (text[: tail.start()].strip(), unit)
        if tail is not None and unit is not None and unit.measured
        else (text, None)
    )


def _formula_of(text: str) -> str:
    text = _PLAIN_ROOT.sub(r"\\sqrt{\1}", text.replace("°", "").replace("**", "^"))
    return _FUNCTION.sub(lambda found: f"\\{found[0]} ", text)


def _depth(text: str) -> int:
    deepest = depth = 0
    for symbol in text:
        depth += (symbol in "([{") - (symbol in ")]}")
        deepest = max(deepest, depth)
    return deepest
