"""Equality by math-verify, and the process it is decided in."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Sequence

import pytest

from vlcal.verifiers import MathVerifier, NumericVerifier, RelaxedVerifier, Verifier, verdicts
from vlcal.verifiers.algebra import algebra_pool


def judged(verifier: MathVerifier, pairs: Sequence[tuple[str | None, str]]) -> list[float]:
    return verdicts([(verifier, answer, target) for answer, target in pairs])


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


def test_an_answer_that_never_ends_costs_its_time_once_and_not_that_of_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    verifier = MathVerifier(timeout=4.0)
    assert judged(verifier, [(rf"\sqrt{{{number}}}+1", "7") for number in (2, 3, 5)]) == [0.0, 0.0, 0.0]
    endless = [("9^{9^{9^{9^9}}}", "5"), ("8^{8^{8^{8^8}}}", "5")]
    honest = [(rf"\sqrt{{{number * number}}}+1", str(number + 1)) for number in range(20, 40)]

    found = judged(verifier, [*endless * 8, *honest])

    assert found == [0.0] * 16 + [1.0] * 20
    assert caplog.text.count("Counted as wrong") == 2
    start = time.perf_counter()
    assert judged(verifier, [*honest, *endless]) == [1.0] * 20 + [0.0] * 2
    assert time.perf_counter() - start < 1.0, "what was compared once is remembered"


def test_answers_that_never_end_share_their_wait_and_leave_nothing_to_be_started_again() -> None:
    verifier = MathVerifier(timeout=6.0)
    assert judged(verifier, [(r"\sqrt{5}+1", "7")]) == [0.0]
    endless = [(f"{base}^{{9^{{9^{{9^9}}}}}}", "5") for base in range(2, 18)]
    start = time.perf_counter()

    assert judged(verifier, [*endless, (r"\sqrt{16}+1", "5")]) == [0.0] * 16 + [1.0]

    # One after the other they take 96 s; so does a child for each, started again, on two cores.
    assert time.perf_counter() - start < 36.0
    assert algebra_pool(6.0, os.getpid()).starts == 1


def test_an_answer_of_many_values_that_never_end_costs_one_limit() -> None:
    values = ", ".join(f"{base}^{{9^{{9^{{9^9}}}}}}" for base in range(2, 12))
    start = time.perf_counter()

    assert MathVerifier(timeout=3.0)(rf"\{{{values}\}}", r"\{1, 2, 3, 4, 5, 6, 7, 8, 9, 10\}") == 0.0

    assert time.perf_counter() - start < 15.0, "ten limits are 30 s"


def test_a_child_that_somebody_ends_is_started_again() -> None:
    verifier = MathVerifier(timeout=31.0)
    assert verifier(r"\sqrt{4}+1", "3") == 1.0
    ended = algebra_pool(31.0, os.getpid()).child
    assert ended is not None

    os.kill(ended, signal.SIGKILL)

    assert verifier(r"\sqrt{9}+1", "4") == 1.0
    assert algebra_pool(31.0, os.getpid()).starts == 2


def test_the_verdicts_of_a_batch_are_those_of_its_pairs_in_their_order(verifier: MathVerifier) -> None:
    pairs = [("1/4", "0.25"), (None, "7"), ("x+1", "1+x"), ("1/4", "0.25"), ("VI", "IV"), ("", "1")]

    assert judged(verifier, pairs) == [verifier(*pair) for pair in pairs] == [1, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("answer", "target", "verdict"),
    [
        ("VI", "IV", 0),
        ("is it", "it is", 0),
        ("5 kg", "5 g", 0),
        ("x = 24", "24", 1),
        (r"24\text{ cm}^2", "24", 1),
        (r"2\sqrt{3}.", r"$2 \sqrt{3}$", 1),
        ("(3,5)", "(3, 5.0)", 1),
    ],
)
def test_what_needs_no_algebra_gets_its_verdict_without_a_process(
    answer: str, target: str, verdict: float, caplog: pytest.LogCaptureFixture
) -> None:
    no_time = MathVerifier(timeout=1e-6)

    assert no_time(answer, target) == verdict
    assert caplog.text == ""


def test_without_time_for_the_algebra_an_expression_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    assert MathVerifier(timeout=1e-6)(r"\sqrt{12}", r"2\sqrt{3}") == 0.0
    assert "Counted as wrong, since it took more than 1e-06 s" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        "A" * 3_000_000,
        "1" * 400,
        "1" * 5000,
        "(" * 900 + "1" + ")" * 900,
        "<answer>" * 200_000,
        r"\text{" * 100_000,
        r"\frac{" * 50_000,
        "**a" * 50_000,
        "x=" * 50_000,
        "1," * 100_000,
        "[1," * 300,
        "1e" + "9" * 50,
        "\ud800 + 1",
        "\u200b" * 900,
    ],
)
def test_huge_and_nested_answers_are_judged_at_once(answer: str) -> None:
    start = time.process_time()
    assert MathVerifier(timeout=30.0)(answer, "7") == 0.0
    assert time.process_time() - start < 1.0


def test_other_threads_may_ask(verifier: MathVerifier) -> None:
    found: list[float] = []
    threads = [threading.Thread(target=lambda: found.append(verifier("1/4", "0.25"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1.0, 1.0, 1.0]


def test_a_pickle_judges_alike(verifier: MathVerifier) -> None:
    assert verifier("1/4", "0.25") == 1.0
    assert pickle.loads(pickle.dumps(verifier))("1/4", "0.25") == 1.0


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_a_timeout_that_leaves_no_time_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="`timeout` must be more than 0 seconds"):
        MathVerifier(timeout=timeout)


@pytest.mark.parametrize("answer", ["7 (cm", "7 cm)", "7 m/(s", "1A) two"])
@pytest.mark.parametrize("judge", [NumericVerifier(), RelaxedVerifier(), MathVerifier()])
def test_a_bracket_around_a_unit_that_nothing_closes_is_no_unit(judge: Verifier, answer: str) -> None:
    assert judge(answer, "8") == 0.0
