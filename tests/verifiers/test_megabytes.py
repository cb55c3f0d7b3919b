"""An answer of a megabyte, of one thing repeated, is judged in time that is linear in its length."""

from __future__ import annotations

import time

import pytest

from vlcal.verifiers import (
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

UNITS = ("<answer>", "7", "(", "\\frac{", " ", "b ", "\\boxed{", "1,", "**", "$", "{", "\\", "\u200b")
VERIFIERS: tuple[tuple[Verifier, str], ...] = (
    *((verifier, "7") for verifier in (ExactVerifier(), NumericVerifier(), PhraseVerifier(), RelaxedVerifier())),
    *((verifier, "7") for verifier in (CountVerifier(), DecimalVerifier(), RoundedVerifier(1), TruncatedVerifier())),
    *((verifier, "7") for verifier in (ListVerifier(), MathVerifier())),
    *((verifier, "A") for verifier in (ChoiceVerifier(), LetterSetVerifier(), OptionVerifier(["one", "two"]))),
    (YesNoVerifier(), "yes"),
)


@pytest.mark.parametrize(("verifier", "target"), VERIFIERS, ids=lambda one: type(one).__name__)
def test_an_answer_of_a_megabyte_is_judged_in_linear_time(verifier: Verifier, target: str) -> None:
    for unit in UNITS:
        start = time.process_time()
        assert verifier(unit * (1_000_000 // len(unit)), target) == 0
        # Linear takes some tenths of a second, quadratic takes hours.
        assert time.process_time() - start < 20
