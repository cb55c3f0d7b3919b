"""Honest rewritings of a right answer, composed at random, keep it right; a change of substance makes it wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from vlcal.verifiers import (
    AnyTarget,
    ChoiceVerifier,
    CountVerifier,
    DecimalVerifier,
    ExactVerifier,
    LetterSetVerifier,
    ListVerifier,
    MathVerifier,
    NumericVerifier,
    OptionVerifier,
    PhraseVerifier,
    RelaxedVerifier,
    RoundedVerifier,
    TruncatedVerifier,
    Verifier,
    YesNoVerifier,
)

MATH = MathVerifier(timeout=30.0)
LETTERS = "ABCDE"
WORDS = ("Oxidation", "Lima", "two cats", "light blue", "isosceles triangle", "Photosynthesis", "is it", "mitosis")
UNITS = {"cm": "kg", "kg": "s", "m/s": "m", "hours": "cm", "cm^2": "cm", "Ω": "V", "°": "kg", "N": "J"}
NAMES = ("cm", "cm^2", "apples", "m/s", "°", r"^\circ", "degrees", "square units")


@dataclass(frozen=True)
class Case:
    """A target with answers that mean it, and answers that are another in substance."""

    verifier: Verifier
    target: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def full_width(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if char.isascii() and char.isalnum() else char for char in text)


# What is laid around an answer, whatever it says.
AROUND: tuple[Callable[[str], str], ...] = (
    lambda text: f"**{text}**",
    lambda text: f"`{text}`",
    lambda text: f"${text}$",
    lambda text: rf"\({text}\)",
    lambda text: rf"\text{{{text}}}",
    lambda text: rf"\mathbf{{{text}}}",
    lambda text: rf"\textbf{{{text}}}",
    lambda text: rf"\boxed{{{text}}}",
    lambda text: f"  {text}\n",
    lambda text: f"\u200b{text}\ufeff",
    lambda text: rf"\,{text}~",
    lambda text: f"\u00a0{text}\u2009",
)
ENDINGS: tuple[Callable[[str], str], ...] = (lambda text: text, lambda text: f"{text}.", lambda text: f"{text}。")
LEADS = (
    "{}",
    "Answer: {}",
    "answer: {}",
    "Final answer: {}",
    "The answer is {}",
    "The correct answer is: {}",
    "**Answer:** {}",
    r"\text{{Answer: }}{}",
)


@st.composite
def rewritten(draw: st.DrawFn, text: str) -> str:
    """A text in three layers: marks around it, a full stop and a lead-in, and marks around all that."""
    for _ in range(draw(st.integers(0, 2))):
        text = around(draw(st.sampled_from(AROUND)), text)
    text = draw(st.sampled_from(ENDINGS))(text)
    text = draw(st.sampled_from(LEADS)).format(text)
    return around(draw(st.sampled_from(AROUND)), text) if draw(st.booleans()) else text


def around(mark: Callable[[str], str], text: str) -> str:
    """The text with a mark around it, unless it holds a Markdown mark already: `****5****` is no emphasis."""
    return text if mark in AROUND[:3] and any(symbol in text for symbol in "*`$") else mark(text)


def grouped(number: int, separator: str) -> str:
    return f"{number:,}".replace(",", separator)


def spelled(number: int) -> tuple[str, ...]:
    """A whole number in the ways it is written."""
    minus = str(number).replace("-", "\N{MINUS SIGN}")
    commas = [grouped(number, separator) for separator in (",", "{,}", r"\,", "\u202f")]
    plain = [f"{number}.0", f"{2 * number}/2", rf"\frac{{{3 * number}}}{{3}}", f"x = {number}", rf"\approx {number}"]
    return str(number), minus, full_width(str(number)), *commas, *plain, *(f"{number} {unit}" for unit in NAMES)


def other_numbers(number: int) -> tuple[str, ...]:
    return str(number + 1), str(number - 1), str(10 * number + 1), str(-number or 7), f"{number}.5", f"x = {number + 2}"


@st.composite
def whole_numbers(draw: st.DrawFn) -> Case:
    number = draw(st.integers(-(10**9), 10**9))
    verifier = draw(st.sampled_from([MATH, NumericVerifier(), AnyTarget(NumericVerifier(), ["0.25"])]))
    return Case(verifier, str(number), spelled(number), other_numbers(number))


@st.composite
def published_numbers(draw: st.DrawFn) -> Case:
    """Rules with a tolerance of their own: what is far off is wrong."""
    number = draw(st.integers(1, 10**6))
    verifiers = [RelaxedVerifier(), RoundedVerifier(1), TruncatedVerifier(), CountVerifier(), DecimalVerifier()]
    return Case(draw(st.sampled_from(verifiers)), str(number), spelled(number), (str(-number), str(2 * number + 1)))


@st.composite
def decimals(draw: st.DrawFn) -> Case:
    digits, power = draw(st.integers(1000, 9999)), draw(st.integers(-30, 30))
    mantissa = f"{digits // 1000}.{digits % 1000:03}"
    target = rf"{mantissa}\times10^{{{power}}}"
    wrong = f"{digits // 1000}.{(digits + 1) % 1000:03}"
    return Case(
        draw(st.sampled_from([MATH, NumericVerifier()])),
        target,
        (f"{mantissa}e{power}", rf"{mantissa} \cdot 10^{{{power}}}", f"{mantissa}×10^{power}", f"{mantissa}0e{power}"),
        (f"{wrong}e{power}", f"{mantissa}e{power + 1}", f"-{mantissa}e{power}", f"{mantissa}e{-power - 1}", "0"),
    )


@st.composite
def quantities(draw: st.DrawFn) -> Case:
    number, unit = draw(st.integers(1, 9999)), draw(st.sampled_from(sorted(UNITS)))
    another = UNITS[unit]
    right = (f"{number} {unit}", rf"{number}\text{{ {unit}}}", rf"{number}~\mathrm{{{unit}}}", f"x = {number} {unit}")
    wrong = (f"{number} {another}", rf"{number}\text{{ {another}}}", f"{number + 1} {unit}", f"-{number} {unit}")
    return Case(MATH, f"{number} {unit}", (*right, str(number)), (*wrong, str(number + 1)))


@st.composite
def words(draw: st.DrawFn) -> Case:
    word, another = draw(st.permutations(WORDS))[:2]
    verifier = draw(st.sampled_from([MATH, ExactVerifier(), RelaxedVerifier(), PhraseVerifier(), ChoiceVerifier()]))
    return Case(
        verifier,
        word,
        (word, word.lower(), word.upper(), word.replace(" ", "  "), f'"{word}"', full_width(word)),
        (another, f"not {word}", f"{word} or {another}", word[::-1], "7"),
    )


@st.composite
def letters(draw: st.DrawFn) -> Case:
    texts = draw(st.permutations(WORDS))[: len(LETTERS)]
    letter, another = draw(st.permutations(LETTERS))[:2]
    text = texts[LETTERS.index(letter)]
    forms = (letter, f"({letter})", f"{letter})", f"{letter}:", f"[{letter}]", f"（{letter}）", full_width(letter))
    named = (f"{letter}. {text}", f"{letter}) {text}", f"({letter}) {text}", f"{letter}, {text}", f"{letter}: {text}")
    wrong = (another, f"({another})", f"{another}. {text}", f"{letter}) or {another})", f"{letter} or {another}")
    if draw(st.booleans()):
        return Case(ChoiceVerifier(), letter, (*forms, *named), wrong)
    elsewhere = texts[LETTERS.index(another)]
    return Case(OptionVerifier(texts), letter, (*forms, *named, text, text.upper()), (*wrong, elsewhere))


@st.composite
def letter_sets(draw: st.DrawFn) -> Case:
    one, two, three = draw(st.permutations(LETTERS))[:3]
    right = (f"{one}, {two}", f"{two} and {one}", f"{one}{two}", f"({one}), ({two})")
    return Case(LetterSetVerifier(), f"{one}, {two}", right, (one, three, f"{one}, {three}", f"{one}{two}{three}"))


@st.composite
def yes_or_no(draw: st.DrawFn) -> Case:
    said, other = draw(st.sampled_from([("yes", "no"), ("no", "yes")]))
    right = (said, said.upper(), f"A. {said}", f"({said})", f"{said}, there is one", f"{said}, there is no other cat")
    return Case(YesNoVerifier(), said, right, (other, f"{other}, there is one", f"{said} or {other}", "not sure"))


@st.composite
def pairs(draw: st.DrawFn) -> Case:
    one, two = draw(st.integers(-99, 99)), draw(st.integers(100, 999))
    left, right = draw(st.sampled_from(["()", "[]"]))
    verifier: Verifier = draw(st.sampled_from([MATH, ListVerifier(timeout=30.0)])) if left == "[" else MATH
    same = (f"{left}{one},{two}{right}", f"{left} {one} , {two}.0 {right}", rf"\left{left}{one}, {two}\right{right}")
    wrong = [(two, one), (one, two + 1), (-one or 1, two), (one, two, two)]
    return Case(
        verifier,
        f"{left}{one}, {two}{right}",
        same,
        tuple(left + ", ".join(map(str, values)) + right for values in wrong),
    )


@st.composite
def expressions(draw: st.DrawFn) -> Case:
    a, b = draw(st.integers(2, 9)), draw(st.sampled_from([2, 3, 5, 6, 7, 10]))
    power = draw(st.integers(20, 200))
    form = draw(st.integers(0, 2))
    if form == 0:
        target = rf"{a}\sqrt{{{b}}}"
        same = (f"{a}√{b}", rf"\sqrt{{{a * a * b}}}", rf"{a} \sqrt{{ {b} }}", f"{a}*sqrt({b})")
        right = (target, *same, f"x = {target}")
        wrong = (rf"{a + 1}\sqrt{{{b}}}", rf"-{a}\sqrt{{{b}}}", rf"{a}\sqrt{{{b + 1}}}", str(a), f"{a * b**0.5:.2f}")
    elif form == 1:
        target = rf"\frac{{{a}}}{{{b}^{{{power}}}}}"
        right = (target, rf"{a}\cdot {b}^{{-{power}}}", f"{a}/{b}^{{{power}}}")
        wrong = (rf"\frac{{{a}}}{{{b}^{{{power + 1}}}}}", f"-{a}/{b}^{{{power}}}", f"{a + 1}/{b}^{{{power}}}", "0")
    else:
        target = f"x^2+{a}x+{b}"
        right = (target, f"{b}+{a}x+x^2", f"x² + {a}x + {b}", f"y = x^2+{a}x+{b}", rf"x^{{2}}+{a}\cdot x+{b}")
        wrong = (f"x^2-{a}x+{b}", f"x^2+{a}x-{b}", f"x^2+{a + 1}x+{b}", f"x^3+{a}x+{b}", str(b))
    return Case(MATH, target, right, wrong)


@st.composite
def assigned(draw: st.DrawFn) -> Case:
    """Targets with words before the value, as MathVerse keeps them."""
    number = draw(st.integers(2, 9999))
    form = draw(st.sampled_from(["Area $={} \\mathrm{{~cm}}^{{2}}$", "slope ={}", "x={}", "\\angle A={}"]))
    target = form.format(number)
    return Case(MATH, target, (str(number), f"{number}.0", target), (str(number + 1), str(-number), f"{number}x"))


CASES = st.one_of(
    whole_numbers(),
    published_numbers(),
    decimals(),
    quantities(),
    words(),
    letters(),
    letter_sets(),
    yes_or_no(),
    pairs(),
    expressions(),
    assigned(),
)
# A few hundred, or as many as the profile asks for: `pytest --hypothesis-profile nightly`.
MANY = settings(max_examples=max(300, settings.default.max_examples if settings.default else 0))


@MANY
@given(st.data(), CASES)
def test_an_honest_rewriting_of_a_right_answer_is_right(data: st.DataObject, case: Case) -> None:
    answer = data.draw(rewritten(data.draw(st.sampled_from(case.right))))

    assert case.verifier(answer, case.target) == 1.0


@MANY
@given(st.data(), CASES)
def test_an_answer_of_another_substance_is_wrong_however_it_is_written(data: st.DataObject, case: Case) -> None:
    answer = data.draw(rewritten(data.draw(st.sampled_from(case.wrong))))

    assert case.verifier(answer, case.target) == 0.0
