"""Intervals of figures that noise can only add to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from vlcal.evaluation import metrics
from vlcal.evaluation.metrics import METRICS, ScoredResponses, WrongAndUnsure
from vlcal.evaluation.metrics.bootstrap import Clusters
from vlcal.evaluation.metrics.estimates import Estimate, Group, Sampled, difference_estimate, mean_estimate, sample
from vlcal.evaluation.metrics.inversion import Plausible, plausible_difference
from vlcal.evaluation.metrics.levels import Rows
from vlcal.evaluation.metrics.table import metric_estimates, paired_difference

Array = NDArray[np.float64]
Chance = Callable[[Array], Array]

ECE = "ece_equal_width"
DEVIATIONS = [name for name, metric in METRICS.items() if metric.deviation]


def bold(confidence: Array) -> Array:
    """Too sure above a half, too unsure below: the ECE is 0.4 times the mean of |c - 0.5|, .109 over eleven levels."""
    return confidence - 0.4 * (confidence - 0.5)


def calibrated(confidence: Array) -> Array:
    return confidence


TRUE_ECE = {bold: 0.4 * np.abs(np.arange(11) / 10 - 0.5).mean(), calibrated: 0.0}


def simulated(rng: np.random.Generator, rows: int, chance: Chance = bold, dataset: str = "all") -> ScoredResponses:
    """Responses that state one of eleven levels."""
    confidence = rng.integers(0, 11, rows) / 10
    return ScoredResponses.of(confidence, (rng.random(rows) < chance(confidence)).astype(float), dataset)


def sampled(seed: int, *groups: ScoredResponses) -> list[Sampled]:
    """The calibration error of groups that share their questions where they share data set and number."""
    clusters = Clusters(*(np.concatenate([getattr(each, name) for each in groups]) for name in ("question", "dataset")))
    question = np.split(clusters.of, np.cumsum([len(each) for each in groups])[:-1])
    parts = [Group(each, of, WrongAndUnsure(), [ECE]) for each, of in zip(groups, question, strict=True)]
    return sample(parts, clusters, 200, seed)


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low - 1e-9 <= truth <= estimate.high + 1e-9


# No interval lies below 0: where that is the truth, only one end can miss it, in 2.5 of 100 cases.
@pytest.mark.parametrize(("chance", "most"), [(bold, 0.97), (calibrated, 0.985)])
def test_a_95_percent_interval_of_the_calibration_error_holds_the_truth_95_times_in_100(
    chance: Chance, most: float
) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(500):
        found = metric_estimates(simulated(rng, 300, chance), [ECE], 200, seed)[ECE]
        held += holds(found, TRUE_ECE[chance])

    assert 0.93 <= held / 500 <= most


def test_the_interval_of_a_mean_of_data_sets_holds_the_mean_of_their_true_errors() -> None:
    rng = np.random.default_rng(1)
    chances = (bold, bold, calibrated)
    held = 0
    for seed in range(100):
        parts = sampled(seed, *(simulated(rng, 150, chance, name) for name, chance in zip("abc", chances, strict=True)))
        held += holds(mean_estimate(parts, ECE), float(np.mean([TRUE_ECE[chance] for chance in chances])))

    assert held >= 90  # 100 draws of .95 hold it in fewer once in 35 times


@pytest.mark.parametrize(("first", "second"), [(bold, calibrated), (calibrated, bold), (bold, bold)])
def test_the_interval_of_a_difference_holds_the_true_one(first: Chance, second: Chance) -> None:
    rng = np.random.default_rng(2)
    held = 0
    for seed in range(100):
        pair = sampled(seed, simulated(rng, 300, first), simulated(rng, 300, second))
        held += holds(difference_estimate(*pair, ECE), TRUE_ECE[first] - TRUE_ECE[second])

    assert held >= 90


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_figure_lies_in_its_own_interval(name: str) -> None:
    rng = np.random.default_rng(3)
    for chance, rows in [(bold, 200), (calibrated, 200), (calibrated, 5), (calibrated, 2)]:
        found = metric_estimates(simulated(rng, rows, chance), [name], 50)[name]

        assert found.low <= found.value <= found.high or (rows < 200 and math.isnan(found.value)), (chance, rows)


@pytest.mark.parametrize("name", ["ece_equal_width", "ece_equal_mass", "ece_per_value", "smooth_ece", "rmsce", "mce"])
def test_what_chance_explains_may_be_no_error_at_all(name: str) -> None:
    judged = simulated(np.random.default_rng(4), 300, calibrated)

    found = metric_estimates(judged, [name], 200)[name]

    assert found.value > 0.01
    assert found.low <= 0.002  # half the grid of smooth ECE, the bandwidth below which it cannot see


@pytest.mark.parametrize("name", ["ece_equal_width", "smooth_ece", "rmsce", "mce"])
def test_what_chance_does_not_explain_is_an_error(name: str) -> None:
    judged = simulated(np.random.default_rng(4), 1000)

    assert metric_estimates(judged, [name], 200)[name].low > 0.02


def test_ten_times_the_responses_narrow_the_interval() -> None:
    rng = np.random.default_rng(5)
    few, many = (metric_estimates(simulated(rng, rows), [ECE], 200)[ECE] for rows in (400, 4000))

    assert many.high - many.low == pytest.approx((few.high - few.low) / math.sqrt(10), rel=0.25)


def test_samples_that_agree_widen_the_interval_to_that_of_their_questions() -> None:
    once = simulated(np.random.default_rng(6), 200)
    copies = ScoredResponses(
        *(np.repeat(each, 4) for each in (once.confidence, once.correct, once.question, once.dataset))
    )
    apart = ScoredResponses.of(copies.confidence, copies.correct)

    one, together, alone = (metric_estimates(each, [ECE], 200)[ECE] for each in (once, copies, apart))

    assert (together.low, together.high) == pytest.approx((one.low, one.high), abs=1e-3)
    assert alone.high - alone.low < 0.6 * (one.high - one.low)


@pytest.mark.parametrize(
    ("confidence", "correct", "value"),
    [
        (np.full(40, 0.5), np.tile([0.0, 1.0], 20), 0.0),  # the gap is exactly 0, but could have been another
        (np.repeat([0.0, 1.0], 20), np.repeat([1.0, 0.0], 20), 1.0),  # as wrong as can be
        (np.repeat([0.0, 1.0], 20), np.repeat([0.0, 1.0], 20), 0.0),  # as right as can be, with no noise seen
    ],
)
def test_the_ends_stay_in_the_range_of_the_metric(confidence: Array, correct: Array, value: float) -> None:
    found = metric_estimates(ScoredResponses.of(confidence, correct), [ECE], 200)[ECE]

    assert found.value == value
    assert 0 <= found.low <= value <= found.high <= 1


def test_a_gap_that_happens_to_be_none_has_an_interval_all_the_same() -> None:
    judged = ScoredResponses.of(np.full(40, 0.5), np.tile([0.0, 1.0], 20))

    found = metric_estimates(judged, [ECE], 400)[ECE]

    # The share right has a standard error of .5 / sqrt(40); half of all such data sets have a gap above .67 of it.
    assert found.low == 0
    assert found.high == pytest.approx((0.674 + 1.96) * 0.5 / math.sqrt(40), rel=0.2)


def test_a_continuum_has_an_interval_of_the_mean_size_of_its_gaps() -> None:
    rng = np.random.default_rng(7)
    confidence = rng.random(500)
    judged = ScoredResponses.of(confidence, (rng.random(500) < confidence).astype(float))

    found = metric_estimates(judged, ["ece_per_value"], 100)["ece_per_value"]

    assert found.value == pytest.approx(metrics.ece_per_value(judged.confidence, judged.correct))
    assert found.low == pytest.approx(0, abs=1e-3)  # every gap may be luck


def test_a_run_differs_from_itself_by_nothing() -> None:
    judged = simulated(np.random.default_rng(8), 100)

    found = paired_difference(judged, judged, draws=50)[ECE]

    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-6)


def test_without_a_sign_of_an_error_a_difference_reaches_as_far_as_the_other_metric() -> None:
    apart = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    error, none = Plausible(0.08, 0.1, 0.12, apart[0]), Plausible(0.0, 0.03, 0.06, apart[1])

    low, high = plausible_difference(error, none)

    assert high == pytest.approx(0.12)
    assert low == pytest.approx(0.07 - math.hypot(0.02, 0.03))
    assert plausible_difference(none, error) == pytest.approx((-high, -low))


def test_opposite_errors_have_a_difference_that_the_same_questions_do_not_narrow() -> None:
    rng = np.random.default_rng(12)
    correct = (rng.random(400) < 0.6).astype(float)
    sure, unsure, less_sure = (ScoredResponses.of(np.full(400, stated), correct) for stated in (0.9, 0.3, 0.8))

    opposed = paired_difference(sure, unsure, draws=200)[ECE]
    alike = paired_difference(sure, less_sure, draws=200)[ECE]

    # .9 - a less a - .3 is 1.2 - 2 a, while .9 - a less .8 - a does not depend on a.
    assert opposed.high - opposed.low == pytest.approx(4 * 1.96 * math.sqrt(0.24 / 400), rel=0.2)
    assert (alike.low, alike.high) == pytest.approx((0.1, 0.1), abs=0.01)


def test_the_two_ends_of_a_difference_trade_places_with_its_sides() -> None:
    rng = np.random.default_rng(10)
    first, second = simulated(rng, 200), simulated(rng, 200, calibrated)

    ahead, behind = (paired_difference(*pair, draws=100)["smooth_ece"] for pair in ((first, second), (second, first)))

    assert (ahead.low, ahead.high) == pytest.approx((-behind.high, -behind.low), abs=1e-9)


def test_signs_add_up_to_nothing_in_each_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = Clusters(np.arange(12).astype(str), np.repeat(["a", "b"], [5, 7]))
    whole = np.concatenate(list(clusters.signs(40, seed=0)))
    monkeypatch.setattr("vlcal.evaluation.metrics.bootstrap.BLOCK", 36)  # three draws at a time

    in_blocks = np.concatenate(list(clusters.signs(40, seed=0)))

    assert whole.shape == (40, 12)
    assert np.abs(whole[:, :5].sum(1)).max() < 1e-12
    assert np.abs(whole[:, 5:].sum(1)).max() < 1e-12
    assert set(np.round(np.diff(np.sort(whole[:, :5], axis=1), axis=1), 9).ravel()) == {0.0, 2.0}
    np.testing.assert_array_equal(in_blocks, whole)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_the_deviations_of_a_metric_give_the_metric(name: str) -> None:
    judged = simulated(np.random.default_rng(11), 250)
    levels = Rows(judged.confidence, judged.correct).once()
    of: Mapping[str, Callable[..., float]] = vars(metrics)
    deviation = METRICS[name].deviation
    assert deviation is not None
    taken = deviation(levels)

    parts = taken.gather(levels)

    assert taken.value(parts)[0] == pytest.approx(of[name](judged.confidence, judged.correct), abs=1e-12)
    assert (np.abs(parts[0]) <= taken.bound + 1e-9).all()
