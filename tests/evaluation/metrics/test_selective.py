"""Answer or abstain at a bounded risk: worked values, and that the guarantee holds over many validation samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from vlcal.errors import UserError
from vlcal.evaluation.metrics import ScoredResponses, selective
from vlcal.evaluation.metrics.selective import RANKS, first_per_question, risk_bound, selective_threshold

Rng = np.random.Generator
Sample = tuple[NDArray[np.float64], NDArray[np.float64]]


@pytest.mark.parametrize(("errors", "accepted"), [(0, 1), (3, 40), (39, 40)])
def test_the_bound_is_the_rate_at_which_so_few_errors_have_probability_delta(errors: int, accepted: int) -> None:
    bound = float(risk_bound(errors, accepted, 0.05))

    assert binom.cdf(errors, accepted, bound) == pytest.approx(0.05)


def test_without_an_error_the_bound_is_one_minus_a_root_of_delta() -> None:
    assert float(risk_bound(0, 10, 0.05)) == pytest.approx(1 - 0.05**0.1)
    assert risk_bound([0, 5], [0, 5], 0.05).tolist() == [1, 1]  # nothing accepted, and nothing right


def test_the_threshold_separates_the_sure_half_that_is_right_from_the_half_that_is_wrong() -> None:
    found = selective_threshold(np.repeat([0.9, 0.2], 500), np.repeat([1.0, 0.0], 500), risk=0.05)

    assert found.threshold == 0.2 and found.coverage == 0.5 and found.observed == 0
    assert found.bound == pytest.approx(1 - (0.05 / (RANKS + 1)) ** (1 / 500))
    assert found.answers(0.9) and not found.answers(0.2) and not found.answers(math.nan)


def test_of_several_thresholds_that_keep_the_risk_the_lowest_answers_most() -> None:
    found = selective_threshold(np.repeat([0.9, 0.5, 0.1], 400), np.repeat([1.0, 1.0, 0.0], 400), risk=0.05)

    assert found.threshold == 0.1 and found.coverage == pytest.approx(2 / 3)


def test_where_nearly_all_are_right_whatever_states_a_confidence_is_answered_and_nothing_else() -> None:
    found = selective_threshold([0.1] * 900 + [math.nan] * 100, [1.0] * 900 + [0.0] * 100, risk=0.05)

    assert found.threshold == -math.inf and found.coverage == 0.9
    assert found.answers(0.0) and not found.answers(math.nan)
    assert "wherever a confidence is stated" in found.statement


def test_too_few_questions_guarantee_nothing_and_the_statement_says_so() -> None:
    found = selective_threshold([0.9] * 20, [1.0] * 20, risk=0.05)

    assert found.threshold == math.inf and not found.answers(1.0) and math.isnan(found.observed)
    assert "no threshold keeps the risk at 5.0%" in found.statement and "the 20 questions" in found.statement


def test_the_order_of_the_rows_and_rows_without_a_verdict_do_not_matter() -> None:
    confidence, correct = _levels(np.random.default_rng(1), 400)
    order = np.random.default_rng(2).permutation(400)
    more = np.append(confidence[order], [0.99] * 50), np.append(correct[order], [math.nan] * 50)

    assert selective_threshold(*more, risk=0.3) == selective_threshold(confidence, correct, risk=0.3)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"risk": 0.0}, "`risk` must be a share in .0, 1.*got 0.0"),
        ({"delta": 1.0}, "`delta` must be a share"),
        ({"correct": [1.0]}, "`correct` must be a flat array with one outcome per confidence"),
        ({"correct": [math.nan] * 2}, "`correct` must hold a known outcome"),
        ({"confidence": [0.5, 7.0]}, "`confidence` must lie in .0, 1."),
    ],
)
def test_what_bounds_no_risk_is_refused(changed: dict[str, object], match: str) -> None:
    with pytest.raises(UserError, match=match):
        selective_threshold(**{"confidence": [0.5, 0.6], "correct": [1.0, 0.0], "risk": 0.1} | changed)  # type: ignore[arg-type]


def test_the_first_response_to_each_question_of_each_data_set_counts() -> None:
    responses = ScoredResponses([0.1, 0.2, 0.3, 0.4], [1, 0, 1, 0], ["a", "a", "b", "a"], ["x", "x", "x", "y"])

    assert first_per_question(responses).confidence.tolist() == [0.1, 0.3, 0.4]


# The guarantee: over many validation samples, the share whose threshold has a true risk beyond the one asked for is at
# most delta. In each world the true risk above any threshold is known.


def _levels(rng: Rng, count: int) -> Sample:
    """Eleven levels, each right as often as it says; the risk above t is 1 - the mean of the levels above it."""
    confidence = rng.integers(0, 11, count) / 10
    return confidence, (rng.random(count) < confidence).astype(float)


def _level_risk(threshold: float) -> float:
    return 1 - float(np.mean([level / 10 for level in range(11) if level / 10 > threshold]))


def _flat(rng: Rng, count: int) -> Sample:
    """A continuous confidence that says nothing; the risk is 0.21 above any threshold."""
    return rng.random(count), (rng.random(count) > 0.21).astype(float)


def _flat_risk(threshold: float) -> float:
    return 0.21


SAMPLES, DELTA = 1500, 0.1
WORLDS = pytest.mark.parametrize(
    ("draw", "true_risk"), [(_levels, _level_risk), (_flat, _flat_risk)], ids=["levels", "flat"]
)


def _violations(draw: Callable[[Rng, int], Sample], true_risk: Callable[[float], float], delta: float) -> float:
    """Share of samples of 300 questions whose threshold has a true risk above 0.2."""
    rng = np.random.default_rng(0)
    found = [selective_threshold(*draw(rng, 300), risk=0.2, delta=delta).threshold for _ in range(SAMPLES)]
    return float(np.mean([t < 1 and true_risk(t) > 0.2 for t in found]))


@WORLDS
def test_the_true_risk_is_larger_than_asked_in_at_most_a_share_delta_of_samples(
    draw: Callable[[Rng, int], Sample], true_risk: Callable[[float], float]
) -> None:
    assert _violations(draw, true_risk, DELTA) <= DELTA


def test_the_same_rule_without_the_correction_for_many_thresholds_breaks_its_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selective, "risk_bound", lambda k, m, delta: risk_bound(k, m, delta * (RANKS + 1)))

    assert _violations(_flat, _flat_risk, DELTA) > 1.5 * DELTA
