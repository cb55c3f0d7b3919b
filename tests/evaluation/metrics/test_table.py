"""Tables, their intervals, and differences between two runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vlcal.evaluation import metrics
from vlcal.evaluation.metrics import METRICS, LeaveOut, ScoredResponses
from vlcal.evaluation.metrics.bootstrap import Clusters, bootstrap, percentile_interval
from vlcal.evaluation.metrics.levels import Rows
from vlcal.evaluation.metrics.table import Contrast, metric_table, paired_difference, shared_questions

Array = NDArray[np.float64]


def simulated(rng: np.random.Generator, rows: int) -> tuple[Array, Array]:
    """Confidences of eleven levels, right in 0.2 + 0.6 c of the cases."""
    confidence = rng.integers(0, 11, rows) / 10
    return confidence, (rng.random(rows) < 0.2 + 0.6 * confidence).astype(float)


def names(*words: str) -> NDArray[np.str_]:
    return np.array(words)


def test_every_metric_has_its_value_between_the_ends_of_an_interval() -> None:
    table = metric_table(ScoredResponses.of(*simulated(np.random.default_rng(0), 300)), draws=200)

    assert list(table.estimates) == list(METRICS)
    for name in ("accuracy", "overconfidence", "brier", "log_loss", "auroc", "auprc", "aurc", "augrc"):
        found = table.estimates[name]
        assert found.low < found.value < found.high, name
    assert table.estimates["auroc"].value == metrics.auroc(*simulated(np.random.default_rng(0), 300))


def test_the_same_data_and_seed_give_the_same_numbers_and_another_seed_others() -> None:
    judged = ScoredResponses.of(*simulated(np.random.default_rng(1), 80))

    assert metric_table(judged, 50, seed=3).estimates == metric_table(judged, 50, seed=3).estimates
    assert metric_table(judged, 50, seed=3).estimates != metric_table(judged, 50, seed=4).estimates


def test_draws_do_not_depend_on_how_many_fit_into_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    confidence, correct = simulated(np.random.default_rng(1), 240)
    question = (np.arange(240) // 2).astype(str)
    judged = ScoredResponses(confidence, correct, question, np.repeat(names("a", "b"), 120))
    whole = metric_table(judged, 50).estimates
    monkeypatch.setattr("vlcal.evaluation.metrics.bootstrap.BLOCK", 720)  # three draws at a time

    in_blocks = metric_table(judged, 50).estimates

    for name, estimate in whole.items():
        assert (in_blocks[name].low, in_blocks[name].high) == pytest.approx((estimate.low, estimate.high), abs=1e-8)


@pytest.mark.parametrize(
    ("name", "truth"),
    # Over the eleven levels c, each as likely: mean of 0.2 + 0.6 c, and of p (1 - c)^2 + (1 - p) c^2.
    [("accuracy", 0.5), ("brier", np.mean([(0.2 + 0.6 * c) * (1 - 2 * c) + c**2 for c in np.arange(11) / 10]))],
)
def test_a_95_percent_interval_holds_the_truth_95_times_in_100(name: str, truth: float) -> None:
    rng = np.random.default_rng(2)
    held = 0
    for seed in range(500):
        rows = Rows(*simulated(rng, 200))
        clusters = Clusters(np.arange(200), np.zeros(200))
        drawn = bootstrap(clusters, lambda weights, rows=rows: METRICS[name].of(rows.levels(weights)), 200, seed)
        low, high = percentile_interval(drawn)
        held += low <= truth <= high

    assert 0.93 <= held / 500 <= 0.97


def test_samples_that_agree_widen_the_interval_to_that_of_their_questions() -> None:
    confidence, correct = simulated(np.random.default_rng(3), 100)
    once = metric_table(ScoredResponses.of(confidence, correct)).estimates["accuracy"]
    question = np.repeat(np.arange(100).astype(str), 4)
    agreeing = ScoredResponses(np.repeat(confidence, 4), np.repeat(correct, 4), question, np.full(400, "d"))
    apart = metric_table(ScoredResponses.of(agreeing.confidence, agreeing.correct)).estimates["accuracy"]

    together = metric_table(agreeing).estimates["accuracy"]

    # Four copies of an answer tell no more than one.
    assert together.high - together.low == pytest.approx(once.high - once.low, abs=1e-9)
    assert apart.high - apart.low == pytest.approx((once.high - once.low) / 2, rel=0.15)


def test_a_draw_takes_as_many_questions_of_each_data_set_as_there_are() -> None:
    dataset = names(*["a"] * 3, *["b"] * 5)
    clusters = Clusters(names("1", "1", "2", "1", "2", "3", "3", "4"), dataset)

    drawn = np.concatenate(list(clusters.weights(20, seed=0)))

    assert clusters.of.tolist() == [0, 0, 1, 2, 3, 4, 4, 5]
    assert (drawn[:, :2].sum(1) == 2).all()
    assert (drawn[:, 2:].sum(1) == 4).all()


def test_data_sets_weigh_the_same_in_the_macro_average() -> None:
    judged = ScoredResponses(
        np.array([0.9, 0.9, 0.9, 0.1]), np.array([1.0, 1.0, 0.0, 0.0]), names("1", "2", "3", "1"), names(*"aaab")
    )
    table = metric_table(judged, draws=20)

    assert {name: each["accuracy"].value for name, each in table.datasets.items()} == {"a": 2 / 3, "b": 0}
    assert table.macro["accuracy"].value == pytest.approx(1 / 3)
    assert table.estimates["accuracy"].value == 0.5
    # AUROC is undefined in b, where all are wrong: the average is of a alone, and says so.
    assert table.macro["auroc"].value == table.datasets["a"]["auroc"].value
    assert (table.macro_datasets["auroc"], table.macro_datasets["accuracy"]) == (1, 2)


def test_one_data_set_is_its_own_average() -> None:
    table = metric_table(ScoredResponses.of(*simulated(np.random.default_rng(5), 40), "only"), draws=20)

    assert table.datasets["only"] == table.estimates
    assert table.macro == pytest.approx(table.estimates)


def test_unparsed_and_unknown_are_counted_and_the_policy_is_named() -> None:
    judged = ScoredResponses.of(np.array([0.9, math.nan, 0.3]), np.array([1.0, 1.0, math.nan]))
    table = metric_table(judged, draws=10)

    assert (table.counts.n, table.counts.unparsed, table.counts.unknown, table.counts.questions) == (3, 1, 1, 3)
    assert table.dataset_counts == {"all": table.counts}
    assert table.estimates["accuracy"].value == 0.5
    assert table.absent == "scored as wrong and unsure (0.5)"
    assert metric_table(judged, draws=10, absent=LeaveOut()).estimates["accuracy"].value == 1.0
    assert metric_table(judged, draws=10, absent=LeaveOut()).estimates["parse_rate"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize("rows", [0, 1])
def test_an_interval_needs_two_questions(rows: int) -> None:
    found = metric_table(ScoredResponses.of(np.full(rows, 0.7), np.ones(rows)), draws=20).estimates["brier"]

    assert found.value == pytest.approx(0.09 if rows else math.nan, nan_ok=True)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_without_draws_there_are_values_and_no_intervals() -> None:
    found = metric_table(ScoredResponses.of(np.array([0.5, 0.7]), np.ones(2)), draws=0).estimates["accuracy"]

    assert found.value == 1
    assert math.isnan(found.low)


def test_paired_questions_tell_apart_what_two_tables_cannot() -> None:
    rng = np.random.default_rng(6)
    confidence, correct = simulated(rng, 400)
    sharper = np.clip(confidence + np.where(correct > 0, 0.1, -0.1), 0, 1)
    before, after = ScoredResponses.of(confidence, correct), ScoredResponses.of(sharper, correct)

    difference = paired_difference(after, before, draws=300)["brier"]

    tables = [metric_table(each, draws=300).estimates["brier"] for each in (after, before)]
    assert difference.value == pytest.approx(tables[0].value - tables[1].value)
    assert difference.high < 0
    assert difference.high - difference.low < 0.5 * (tables[0].high - tables[0].low)


def test_a_run_does_not_differ_from_itself() -> None:
    judged = ScoredResponses.of(*simulated(np.random.default_rng(7), 60))

    assert paired_difference(judged, judged, draws=30)["auroc"] == Contrast(0, 0, 0, detectable=0)


def test_the_detectable_difference_is_a_multiple_of_the_standard_error_of_the_paired_difference() -> None:
    # 100 questions, all wrong; the Brier scores differ by .36 - .16 = .2 on one half and by -.2 on the other, so that
    # their mean has the standard error .2 / 10 = .02, and (1.960 + .842) * .02 = .056.
    low, high = np.repeat([0.4, 0.6], 50), np.repeat([0.6, 0.4], 50)
    first, second = (ScoredResponses.of(each, np.zeros(100)) for each in (low, high))

    found = paired_difference(first, second, draws=4000)

    assert found["brier"].value == pytest.approx(0)
    assert found["brier"].detectable == pytest.approx(0.056, abs=0.003)
    assert 0 < found["ece_per_value"].detectable < 1  # a norm of deviations, from the draws of its noise
    assert math.isnan(paired_difference(first, second, draws=0)["brier"].detectable)


def test_only_questions_that_both_have_are_compared() -> None:
    first = ScoredResponses(np.array([1.0, 0.5]), np.array([1.0, 0.0]), names("1", "2"), names("d", "d"))
    second = ScoredResponses(np.array([0.2, 0.5]), np.array([1.0, 0.0]), names("1", "2"), names("d", "e"))

    assert shared_questions(first, second) == 1
    assert paired_difference(first, second, draws=10)["mean_confidence"].value == pytest.approx(0.8)
    with pytest.raises(ValueError, match="`second` must share questions with `first`"):
        paired_difference(first, ScoredResponses.of(np.ones(2), np.ones(2), "other"))


def test_fewer_draws_than_none_are_refused() -> None:
    with pytest.raises(ValueError, match="`draws` must be at least 0.*got -1"):
        metric_table(ScoredResponses.of(np.ones(2), np.ones(2)), draws=-1)
    with pytest.raises(ValueError, match="`draws` must be at least 1, of at least one question"):
        bootstrap(Clusters([], []), lambda weights: weights)
