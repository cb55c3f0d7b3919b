"""The rules of benchmarks, with the answers that trick a hasty one."""

from __future__ import annotations

import math
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcal.verifiers import (
    AnyTarget,
    CountVerifier,
    DecimalVerifier,
    ExactVerifier,
    LetterSetVerifier,
    MathVerifier,
    NearestOptionVerifier,
    OptionVerifier,
    PhraseVerifier,
    RelaxedVerifier,
    RoundedVerifier,
    TruncatedVerifier,
    Verifier,
    YesNoVerifier,
)
from vlcal.verifiers.algebra import algebra_pool
from vlcal.verifiers.options import edit_distance
from vlcal.verifiers.typed import number

PETS = ("a dog", "two cats", "C. elegans")
ALL: tuple[tuple[Verifier, str], ...] = (
    (OptionVerifier(PETS), "B"),
    (NearestOptionVerifier(PETS), "B"),
    (LetterSetVerifier(), "A, C"),
    (YesNoVerifier(), "yes"),
    (RelaxedVerifier(), "20"),
    (RoundedVerifier(1), "1.2"),
    (TruncatedVerifier(), "7"),
    (CountVerifier(), "7"),
    (DecimalVerifier(), "6.283"),
    (PhraseVerifier(), "not even"),
    (AnyTarget(ExactVerifier(), ["red"]), "blue"),
)


@pytest.mark.parametrize(("verifier", "target"), ALL)
def test_the_target_is_right_and_no_answer_is_not(verifier: Verifier, target: str) -> None:
    assert verifier(target, target) == 1
    assert verifier(None, target) == verifier("", target) == verifier("  ", target) == 0


@pytest.mark.parametrize(("verifier", "target"), ALL)
@given(answer=st.text())
def test_any_answer_gets_a_verdict(verifier: Verifier, target: str, answer: str) -> None:
    assert verifier(answer, target) in (0.0, 1.0)


@pytest.mark.parametrize(("verifier", "target"), ALL)
@pytest.mark.parametrize("unit", ["1", "1,234", "A", "A, ", " ", "(A)", "yes ", "one ", "1/", "(", "\\frac{1}{"])
def test_long_answers_take_no_longer_than_linear(verifier: Verifier, target: str, unit: str) -> None:
    start = time.process_time()
    verifier(unit * (100_000 // len(unit)) + "?", target)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("verifier", "target", "complaint"),
    [
        (OptionVerifier(PETS), "D", "`target` must be the letter of one of the 3 options; got 'D'"),
        (OptionVerifier(PETS), "1", "`target` must be the letter"),
        (LetterSetVerifier(), "none", "`target` must be letters"),
        (YesNoVerifier(), "maybe", "`target` must be yes or no"),
        (RoundedVerifier(), "far", "`target` must be a number for `RoundedVerifier`"),
        (TruncatedVerifier(), "far", "`target` must be a number for `TruncatedVerifier`"),
        (CountVerifier(), "2.5", "`target` must be a whole number"),
        (DecimalVerifier(), "x", "`target` must be a number for `DecimalVerifier`"),
    ],
)
def test_a_target_of_another_kind_is_refused(verifier: Verifier, target: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        verifier("7", target)


@pytest.mark.parametrize("tolerance", [-1.0, math.nan])
def test_a_tolerance_that_is_no_distance_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="`tolerance` must be 0 or more"):
        RelaxedVerifier(tolerance)
    with pytest.raises(ValueError, match="`tolerance` must be 0 or more"):
        DecimalVerifier(tolerance)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="`options` must be 2 to 26 texts"):
        OptionVerifier(["one"])
    with pytest.raises(ValueError, match="`digits` must be 0 or more"):
        RoundedVerifier(-1)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A", "A"),
        ("C", "C"),
        ("C. elegans", "C"),
        ("B. a dog", "B"),
        ("B: two cats", "B"),
        ("B:two cats", "B"),
        ("Two  cats", "B"),
        (r"\text{two cats}", "B"),
        ("The answer is (B)", "B"),
    ],
)
def test_an_option_is_named_by_its_letter_or_else_by_its_text(answer: str, letter: str) -> None:
    verdicts = [OptionVerifier(PETS)(answer, target) for target in "ABC"]
    assert verdicts == [float(target == letter) for target in "ABC"]


@pytest.mark.parametrize("answer", ["D", "cats", "two", "two cats and a dog", "A or B", "none of them", "AB"])
def test_what_names_no_option_is_wrong_for_every_one(answer: str) -> None:
    assert [OptionVerifier(PETS)(answer, target) for target in "ABC"] == [0, 0, 0]


def test_letters_win_over_texts_that_are_letters_and_equal_texts_are_one_option() -> None:
    assert OptionVerifier(["B", "A"])("A", "A") == 1
    assert OptionVerifier(["5", "6", "5"])("C", "A") == 1


@pytest.mark.parametrize(("answer", "letter"), [("a god", "A"), ("two bats", "B"), ("elegant", "C"), ("B", "B")])
def test_the_nearest_text_counts_where_the_benchmark_says_so(answer: str, letter: str) -> None:
    assert [NearestOptionVerifier(PETS)(answer, target) for target in "ABC"] == [float(t == letter) for t in "ABC"]


@given(st.text(max_size=8), st.text(max_size=8))
def test_edit_distance_is_a_distance(one: str, other: str) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) <= max(len(one), len(other))
    assert (edit_distance(one, other) == 0) == (one == other)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5 cm", 5),
        ("5cm", 5),
        (r"5\,\text{cm}^2", 5),
        (r"30^\circ", 30),
        ("-2.5 m/s", -2.5),
        ("1,234 people", 1234),
        ("$5", 5),
        ("50%", 50),
        (r"50\%", 50),
        ("3 million", None),
        ("5k", None),
        ("3 or 4", None),
        ("5 or more", None),
        ("2x", None),
        ("cm", None),
        ("", None),
    ],
)
def test_a_unit_is_dropped_and_a_scale_is_not(text: str, value: float | None) -> None:
    found = number(text)
    assert (None if found is None else found.value) == value


@pytest.mark.parametrize(
    ("answer", "target", "verdict"),
    [
        ("6.284", "6.283", 1),
        ("6.285", "6.283", 0),
        (r"\frac{\pi}{2}", "1.571", 1),
        (r"\frac{3}{4}\pi", "2.356", 1),
        ("π/2", "1.571", 1),
        ("2*3+1", "7", 1),
        ("-(1/2)", "-0.5", 1),
        ("5/0", "5", 0),
        ("9**9**9**9", "9", 0),
        ("__import__('os')", "9", 0),
        ("1e999", "9", 0),
        ("2 3", "6", 0),
        ("1000.5", "1000", 0),
    ],
)
def test_arithmetic_is_compared_by_value_with_an_absolute_gap(answer: str, target: str, verdict: float) -> None:
    assert DecimalVerifier()(answer, target) == verdict


@pytest.mark.parametrize(("answer", "verdict"), [("1.24", 1), ("1.16", 1), ("1.26", 0), ("1.2 m", 1), ("1.2 2", 0)])
def test_decimals_are_rounded_to_the_precision_that_is_asked_for(answer: str, verdict: float) -> None:
    assert RoundedVerifier(1)(answer, "1.2") == verdict


@pytest.mark.parametrize(("answer", "verdict"), [("7", 1), ("7.9", 1), ("-7", 0), ("8", 0), ("7 apples", 1), ("x7", 0)])
def test_whole_numbers_are_cut_off(answer: str, verdict: float) -> None:
    assert TruncatedVerifier()(answer, "7") == verdict


@pytest.mark.parametrize(
    ("answer", "target", "verdict"),
    [
        ("105", "100", 1),
        ("105.1", "100", 0),
        ("2015", "2010", 1),
        ("5%", "0.05", 1),
        ("5%", "5", 0),
        (r"5\%", "5%", 1),
        ("-100", "100", 0),
        ("1,000", "1000", 1),
        ("0.001", "0", 0),
        ("Dark  Red", "dark red", 1),
        ("red", "dark red", 0),
    ],
)
def test_numbers_on_a_chart_may_be_off_by_a_twentieth(answer: str, target: str, verdict: float) -> None:
    assert RelaxedVerifier()(answer, target) == verdict


@pytest.mark.parametrize("answer", ["not", "even", "Not even."])
def test_an_answer_may_say_less_than_the_target_in_whole_words(answer: str) -> None:
    assert PhraseVerifier()(answer, "not even") == 1


@pytest.mark.parametrize("answer", ["eve", "even not", "it is not even", "...", "n"])
def test_an_answer_may_say_nothing_that_the_target_does_not(answer: str) -> None:
    assert PhraseVerifier()(answer, "not even") == 0


@pytest.mark.parametrize("answer", ["blue", "red"])
def test_any_of_several_answers_is_right(answer: str) -> None:
    assert AnyTarget(ExactVerifier(), ["red"])(answer, "blue") == 1


def test_verifiers_alike_share_the_process_that_compares_expressions() -> None:
    verifiers = MathVerifier(29.0), DecimalVerifier(timeout=29.0), MathVerifier(29.0)

    assert [verifier(r"2\sqrt{3}", "3.4641") for verifier in verifiers] == [1, 1, 1]
    assert algebra_pool(29.0, os.getpid()).starts == 1


@pytest.mark.parametrize(
    ("answer", "verdicts"),
    [
        ("Yes", (1, 0)),
        ("**no**", (0, 1)),
        ("The answer is: no.", (0, 1)),
        ("True", (1, 0)),
        ("yes and no", (0, 0)),
        ("No, yes", (0, 0)),
        ("not sure", (0, 0)),
        ("nobody", (0, 0)),
        ("I say yes", (0, 0)),
    ],
)
def test_yes_or_no_is_said_first_and_alone(answer: str, verdicts: tuple[float, float]) -> None:
    assert (YesNoVerifier()(answer, "yes"), YesNoVerifier()(answer, "no")) == verdicts
