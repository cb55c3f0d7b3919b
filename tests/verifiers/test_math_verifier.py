"""Equality by math-verify, and the process it is decided in."""

from __future__ import annotations

import pickle
import threading
import time

import pytest

from vlcal.verifiers import MathVerifier


@pytest.fixture(scope="module")
def verifier() -> MathVerifier:
    return MathVerifier(timeout=30.0)


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        (r"\frac{1}{2}", "0.5"),
        ("1/2", r"\frac12"),
        (r"$\dfrac{3}{4}$", "3/4"),
        (r"2\sqrt{3}", r"\sqrt{12}"),
        ("x^2+2x+1", "(x+1)^2"),
        ("x = 5", "5"),
        ("1,234", "1234"),
        (r"5 \text{ cm}", "5"),
        (r"30^\circ", "30"),
        (r"\{1, 2\}", r"\{2, 1\}"),
        ("Blue ", "blue"),
    ],
)
def test_equal_expressions_are_right(verifier: MathVerifier, answer: str, target: str) -> None:
    assert verifier(answer, target) == 1.0


@pytest.mark.parametrize(
    ("answer", "target"),
    [("-5", "5"), ("3.14", r"\pi"), ("x+1", "x+2"), (r"\frac{1}{3}", r"\frac{1}{2}"), ("act", "cat"), ("6", "5")],
)
def test_unequal_expressions_and_words_are_wrong(verifier: MathVerifier, answer: str, target: str) -> None:
    assert verifier(answer, target) == 0.0


@pytest.mark.parametrize(
    "answer",
    [None, "", "  ", "}{", r"\frac{", "$$", "\\", "\x00", "\ud800", "🙂", "\n5\n\n]", "]" * 200, "nan"],
)
def test_bad_input_is_wrong_and_raises_nothing(verifier: MathVerifier, answer: str | None) -> None:
    assert verifier(answer, "7") == 0.0


def test_an_answer_that_never_ends_is_wrong_in_time_and_the_next_one_is_judged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    verifier = MathVerifier(timeout=5.0)
    start = time.perf_counter()
    assert verifier("9^{9^{9^{9^9}}}", "5") == 0.0
    assert time.perf_counter() - start < 120.0
    assert "Counted as wrong" in caplog.text
    assert verifier("1/4", "0.25") == 1.0


def test_other_threads_may_ask(verifier: MathVerifier) -> None:
    verdicts: list[float] = []
    threads = [threading.Thread(target=lambda: verdicts.append(verifier("1/4", "0.25"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [1.0, 1.0, 1.0]


def test_a_pickle_judges_alike(verifier: MathVerifier) -> None:
    assert verifier("1/4", "0.25") == 1.0
    assert pickle.loads(pickle.dumps(verifier))("1/4", "0.25") == 1.0


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_a_timeout_that_leaves_no_time_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="`timeout` must be more than 0 seconds"):
        MathVerifier(timeout=timeout)
