from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcal.text import Grammar, parse
from vlcal.verifiers import (
    AnyTarget,
    ChoiceVerifier,
    ExactVerifier,
    NoOracle,
    NoVerifier,
    NumericVerifier,
    OptionVerifier,
    PhraseVerifier,
    Verifier,
    YesNoVerifier,
)

QUICK: tuple[tuple[Verifier, str], ...] = (
    (ExactVerifier(), "blue"),
    (NumericVerifier(), "9"),
    (ChoiceVerifier(), "B. two cats"),
    (NoVerifier(), "9"),
)


@pytest.mark.parametrize(("verifier", "target"), QUICK)
def test_no_answer_is_not_right(verifier: Verifier, target: str) -> None:
    assert verifier(None, target) == 0.0
    assert verifier("", target) == 0.0


@pytest.mark.parametrize(
    ("verifier", "target", "complaint"),
    [
        (NumericVerifier(), "twelve", "`target` must be a number for `NumericVerifier`; got 'twelve'"),
        (YesNoVerifier(), "maybe", "`target` must be yes or no"),
        (OptionVerifier(["a dog", "two cats"]), "C", "`target` must be the letter of one of the 2 options"),
        (PhraseVerifier(), "?!", r"the answer must be right by `PhraseVerifier` itself; got '\?!'"),
        (AnyTarget(NumericVerifier(), ["six"]), "6", "`target` must be a number .* got 'six'"),
    ],
)
def test_a_target_that_cannot_be_judged_is_refused(verifier: Verifier, target: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        verifier.check(target)


@pytest.mark.parametrize(("verifier", "target"), [*QUICK, (NoVerifier(), "anything"), (NumericVerifier(), "12 cm")])
def test_a_target_that_is_judged_and_one_that_nobody_judges_pass(verifier: Verifier, target: str) -> None:
    verifier.check(target)


@pytest.mark.parametrize(("verifier", "target"), QUICK)
@given(answer=st.text())
def test_any_answer_gets_a_verdict(verifier: Verifier, target: str, answer: str) -> None:
    assert verifier(answer, target) in (0.0, 1.0)


@pytest.mark.parametrize(("verifier", "target"), QUICK)
@pytest.mark.parametrize("unit", ["1", "1,234", "A", " ", "(A)", "*", "the answer is ", "1/"])
def test_long_answers_take_no_longer_than_linear(verifier: Verifier, target: str, unit: str) -> None:
    start = time.process_time()
    verifier(unit * (100_000 // len(unit)) + "x", target)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(("verifier", "target"), QUICK[:3])
def test_the_target_itself_is_right(verifier: Verifier, target: str) -> None:
    assert verifier(target, target) == 1.0


@pytest.mark.parametrize(
    ("answer", "verdict"), [("blue", 1), (" BLUE\n", 1), ("light blue", 0), ("blue.", 1), ("bl ue", 0)]
)
def test_exact_forgives_case_white_space_and_a_full_stop_only(answer: str, verdict: float) -> None:
    assert ExactVerifier()(answer, "Blue") == verdict


def test_exact_counts_any_run_of_white_space_as_one_space() -> None:
    assert ExactVerifier()("two \n cats", "two cats") == 1.0


@pytest.mark.parametrize(
    ("answer", "target", "verdict"),
    [
        ("9", "9", 1),
        ("9.0", "9", 1),
        (" $9$ ", "9", 1),
        ("+9", "9", 1),
        ("1,200.5", "1200.5", 1),
        ("1.2e3", "1200", 1),
        ("3/4", "0.75", 1),
        (".5", "1/2", 1),
        ("-9", "9", 0),
        ("\u22129", "-9", 1),
        ("nine", "9", 0),
        ("9 apples", "9", 1),
        ("1,20", "120", 0),
        ("9/0", "9", 0),
        ("nan", "9", 0),
        ("1e999", "9", 0),
        ("1e999", "1e999", 1),
        ("٩", "9", 0),
        (".", "0", 0),
    ],
)
def test_numeric_compares_values_not_spellings(answer: str, target: str, verdict: float) -> None:
    assert NumericVerifier()(answer, target) == verdict


@pytest.mark.parametrize(
    ("answer", "target", "verdict"),
    [
        ("101", "100", 1),
        ("102", "100", 0),
        ("-99", "-100", 1),
        ("0.01", "0", 0),
        ("0", "0", 1),
        ("0.02", "0", 0),
        ("0.5", "0.505", 1),
    ],
)
def test_tolerance_is_a_share_of_the_target_at_every_size(answer: str, target: str, verdict: float) -> None:
    assert NumericVerifier(tolerance=0.01)(answer, target) == verdict


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="`tolerance` must be 0 or more.* got -1"):
        NumericVerifier(tolerance=-1)
    with pytest.raises(ValueError, match="`tolerance` must be 0 or more.* got nan"):
        NumericVerifier(tolerance=math.nan)


def test_a_target_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="`target` must be a number .* got 'blue'.* `ExactVerifier`"):
        NumericVerifier()("9", "blue")


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "(B)",
        "[B]",
        "B.",
        "B)",
        "B:",
        "(b).",
        "**B**",
        "**B.** two cats",
        "**(B)** two cats",
        "(B)two cats",
        r"\text{B}",
        r"\textbf{(B)}",
        "$B$",
        "Option B",
        "Answer: B",
        "the correct answer is (B)",
        "B. three dogs",
        "Two  cats",
        "two cats",
    ],
)
def test_every_usual_form_of_the_right_option_is_right(answer: str) -> None:
    assert ChoiceVerifier()(answer, "B. two cats") == 1.0


@pytest.mark.parametrize("answer", ["A", "(C)", "A. two cats", "two", "a two cats", "BB", "cats", "B two cats"])
def test_another_option_or_none_is_wrong(answer: str) -> None:
    assert ChoiceVerifier()(answer, "B. two cats") == 0.0


@pytest.mark.parametrize("target", ["B", "(B)", "B.", "**b**"])
def test_the_form_of_the_target_does_not_matter(target: str) -> None:
    assert ChoiceVerifier()("B) two cats", target) == 1.0
    assert ChoiceVerifier()("C) two cats", target) == 0.0
    assert ChoiceVerifier()("two cats", target) == 0.0


def test_a_target_without_letter_is_compared_as_text() -> None:
    assert ChoiceVerifier()("A. two cats", "two cats") == 1.0
    assert ChoiceVerifier()("A", "two cats") == 0.0


def test_no_verifier_finds_nothing_right() -> None:
    assert NoVerifier()("9", "9") == 0.0


def test_no_oracle_knows_neither_truth() -> None:
    response = parse(Grammar().render("V", "R", "9", "X", 7, 9), Grammar())
    assert all(math.isnan(truth) for truth in NoOracle()(response, {"digits": [9]}))
