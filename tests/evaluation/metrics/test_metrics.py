"""What holds for every metric."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vlcal.evaluation import metrics
from vlcal.evaluation.metrics import (
    METRICS,
    EqualMass,
    EqualWidth,
    LeaveOut,
    Metric,
    Ranked,
    ScoredResponses,
    WrongAndUnsure,
)
from vlcal.evaluation.metrics.levels import Rows
from vlcal.evaluation.metrics.metric import Better, metric

Array = NDArray[np.float64]
Responses = tuple[Array, Array]
every_metric = pytest.mark.parametrize("figure", METRICS.values(), ids=list(METRICS))


@every_metric
def test_weights_count_a_response_as_often_as_they_say(figure: Metric, responses: Responses) -> None:
    rng = np.random.default_rng(4)
    weights = rng.integers(0, 4, (3, len(responses[0])))
    weights[:, 0] = 1

    drawn = figure.of(Rows(*responses).levels(weights.astype(float)))

    repeated = [figure(*(np.repeat(column, times) for column in responses)) for times in weights]
    assert drawn == pytest.approx(np.array(repeated), abs=1e-8, nan_ok=True)


@every_metric
def test_the_order_of_the_responses_changes_nothing(figure: Metric, responses: Responses) -> None:
    order = np.random.default_rng(5).permutation(len(responses[0]))

    assert figure(*(column[order] for column in responses)) == pytest.approx(figure(*responses), abs=1e-9, nan_ok=True)


@every_metric
def test_values_lie_in_the_stated_range(figure: Metric, responses: Responses) -> None:
    value = figure(*responses)

    assert math.isnan(value) or figure.low - 1e-9 <= value <= figure.high + 1e-9


@every_metric
def test_nothing_to_judge_gives_nan_or_a_count_of_0(figure: Metric) -> None:
    for confidence, correct in (([], []), ([0.5], [math.nan]), ([math.nan], [math.nan])):
        value = figure(confidence, correct)
        unjudged = figure.name in {"mean_confidence", "distinct_values", "value_entropy", "parse_rate"}
        assert math.isnan(value) or unjudged


@every_metric
def test_an_absent_confidence_counts_as_wrong_and_unsure(figure: Metric) -> None:
    question = np.repeat(np.arange(100), 4)
    absent = figure(np.tile([0.9, 0.2, math.nan, math.nan], 100), np.tile([1, 0, 1, 0], 100), question=question)
    stated = figure(np.tile([0.9, 0.2, 0.5, 0.5], 100), np.tile([1, 0, 0, 0], 100), question=question)
    of_what_was_stated = {"parse_rate": 0.5, "distinct_values": 2, "value_entropy": math.log(2)}

    assert absent == pytest.approx(of_what_was_stated.get(figure.name, stated), abs=1e-9)


@every_metric
def test_left_out_means_as_if_never_there_but_for_the_parse_rate(figure: Metric) -> None:
    thrice, twice = np.repeat(np.arange(100), 3), np.repeat(np.arange(100), 2)
    left_out = figure(np.tile([0.9, 0.2, math.nan], 100), np.tile([1, 0, 1], 100), LeaveOut(), thrice)
    never = figure(np.tile([0.9, 0.2], 100), np.tile([1, 0], 100), question=twice)

    assert left_out == pytest.approx(2 / 3 if figure.name == "parse_rate" else never, abs=1e-9)


@every_metric
def test_what_lies_outside_0_and_1_is_refused(figure: Metric) -> None:
    with pytest.raises(ValueError, match="`confidence` must lie in .0, 1., or be NaN.*got 9"):
        figure([9.0, 1.0], [1, 0])
    with pytest.raises(ValueError, match="`correct` must be a flat array with one outcome per confidence"):
        figure([0.9, 1.0], [1])


def test_murphys_terms_add_up_to_the_brier_score(responses: Responses) -> None:
    confidence, correct = responses
    brier = metrics.brier(*responses)
    reliability, resolution = metrics.brier_reliability(*responses), metrics.brier_resolution(*responses)

    assert reliability - resolution + metrics.brier_uncertainty(*responses) == pytest.approx(brier, abs=1e-12)
    if len(set(confidence.round(2).tolist())) == len(set(confidence.tolist())):  # one value per bin: Murphy's own terms
        parts = [correct[confidence == value] for value in set(confidence.tolist())]
        spread = sum(len(part) * (part.mean() - correct.mean()) ** 2 for part in parts) / len(correct)
        assert resolution == pytest.approx(spread, abs=1e-9)


def test_a_worked_case() -> None:
    # Sure 1.0: one right, one wrong. Sure 0.4: one wrong.
    confidence, correct = [1.0, 1.0, 0.4], [1, 0, 0]

    assert metrics.ece_equal_width(confidence, correct) == pytest.approx((2 * 0.5 + 0.4) / 3)
    assert metrics.mce(confidence, correct) == pytest.approx(0.5)
    assert metrics.brier(confidence, correct) == pytest.approx((0 + 1 + 0.16) / 3)
    assert metrics.log_loss(confidence, correct) == pytest.approx((0 + math.log(1000) - math.log(0.6)) / 3)
    assert metrics.auroc(confidence, correct) == pytest.approx((0.5 + 1) / 2)
    assert metrics.aurc(confidence, correct) == pytest.approx((1 / 2 + 1 / 2 + 2 / 3) / 3)
    assert metrics.e_aurc(confidence, correct) == pytest.approx((1 / 2 + 1 / 2 + 2 / 3) / 3 - (0 + 1 / 2 + 2 / 3) / 3)
    assert metrics.coverage_at_risk_10(confidence, correct) == 0.0


def test_exactly_1_shares_the_last_bin_and_an_edge_opens_the_next() -> None:
    # 0.95 and 1.0 cancel in one bin; 0.7, which float32 rounds down, belongs to the bin from 0.7.
    assert metrics.ece_equal_width([0.95, 1.0], [1.0, 0.95]) == pytest.approx(0)
    assert EqualWidth(10).index(np.array([0.3, 0.6, np.float32(0.7), 1.0], np.float64)).tolist() == [3, 6, 7, 9]


@pytest.mark.parametrize("bins", [7, 10, 20, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_edge_opens_its_bin_however_it_was_rounded(bins: int, dtype: type) -> None:
    edges = (np.arange(bins) / bins).astype(dtype).astype(float)

    assert EqualWidth(bins).index(edges).tolist() == list(range(bins))


def test_equal_confidences_share_a_bin_of_equal_mass() -> None:
    # In two bins, the right and the wrong of 0.5 would look miscalibrated.
    assert metrics.ece_equal_mass(np.full(20, 0.5), np.arange(20) < 10) == pytest.approx(0)


def test_partly_right_counts_in_part_where_a_formula_can_and_as_a_class_where_it_must() -> None:
    assert metrics.accuracy([0.5, 0.5], [0.25, 1]) == pytest.approx(0.625)
    assert metrics.brier([0.5, 0.5], [0.25, 1]) == pytest.approx((0.0625 + 0.25) / 2)
    assert metrics.ece_per_value([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0)
    assert metrics.auroc([0.2, 0.9], [0.49, 0.5]) == 1.0


def test_a_score_of_any_scale_is_ranked_and_an_absent_one_changes_nothing() -> None:
    score, correct = np.array([300.0, -5.0, 0.5]), [1, 1, 0]

    assert metrics.auroc(score, correct, Ranked()) == 0.5  # 300 beats 0.5, and -5 does not
    assert metrics.auroc(np.exp(score / 100), correct, Ranked()) == 0.5
    assert metrics.auroc([*score, math.nan, math.nan], [*correct, 0, 1], Ranked()) == 0.5
    assert math.isnan(metrics.auroc([math.nan, math.nan, 3.0], [1, 0, math.nan], Ranked()))


def test_each_policy_has_its_own_auroc() -> None:
    stated, correct = [0.9, 0.3, math.nan, math.nan], [1, 0, 1, 0]

    # Wrong and unsure: 0.9 against 0.3, 0.5 and 0.5. Left out: 0.9 against 0.3.
    assert metrics.auroc(stated, correct) == 1
    assert metrics.auroc(stated, correct, LeaveOut()) == 1
    assert metrics.auroc([0.4, 0.3, math.nan], [1, 0, 1]) == pytest.approx(0.5)


def test_mean_confidence_needs_no_outcome_and_leaves_the_unknown_out_of_the_gap() -> None:
    assert metrics.mean_confidence([0.2, 0.8], [math.nan, 1]) == pytest.approx(0.5)
    assert metrics.overconfidence([0.2, 0.8], [math.nan, 1]) == pytest.approx(-0.2)


def test_the_reliability_curve_has_wilsons_interval() -> None:
    curve = metrics.reliability_curve([0.75] * 10 + [0.1], [1] * 8 + [0] * 2 + [0])

    assert curve.count.tolist() == [1, 10]
    assert curve.confidence == pytest.approx([0.1, 0.75])
    assert curve.accuracy == pytest.approx([0.0, 0.8])
    assert (curve.low[1], curve.high[1]) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Wilson's for 8 of 10
    assert curve.low[0] == 0
    assert len(metrics.reliability_curve([], []).count) == 0


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="`bins` must be at least 1; got 0"):
        EqualMass(0)


def test_a_metric_whose_range_is_empty_is_refused() -> None:
    with pytest.raises(ValueError, match="`low` must be less than `high`"):
        metric("upside down", Better.HIGHER, "none", low=1.0, high=0.0)


def test_judged_responses_are_checked() -> None:
    with pytest.raises(ValueError, match="`question` must be one column with a value per confidence"):
        ScoredResponses(np.ones(2), np.ones(2), np.array(["a"]), np.array(["d", "d"]))
    with pytest.raises(ValueError, match="`correct` must lie in .0, 1., or be NaN where it is absent; got 2"):
        ScoredResponses.of(np.ones(1), np.full(1, 2.0))


def test_settled_responses_hold_no_nan() -> None:
    judged = ScoredResponses.of(np.array([0.9, math.nan, 0.4]), np.array([1.0, 1.0, math.nan]))

    assert judged.settled(WrongAndUnsure()).confidence.tolist() == [0.9, 0.5]
    assert judged.settled(WrongAndUnsure()).correct.tolist() == [1.0, 0.0]
    assert judged.settled(LeaveOut()).question.tolist() == ["0"]


def test_the_auroc_within_questions_pools_the_pairs_of_each_question() -> None:
    confidence, correct = [0.9, 0.5, 0.5, 0.2, 0.7, 0.1], [1, 0, 1, 0, 0, 1]

    # Question a: .9 beats both wrong ones, .5 ties one and beats the other: 3.5 of 4. Question b: 0 of 1.
    assert metrics.within_auroc(confidence, correct, question=list("aaaabb")) == pytest.approx(3.5 / 5)
    assert math.isnan(metrics.within_auroc(confidence, correct))


def test_the_auroc_within_questions_of_a_draw_counts_a_question_as_often_as_it_was_drawn() -> None:
    rows = Rows([0.9, 0.1, 0.5, 0.5], [1, 0, 1, 0], drawn_with=np.array([0, 0, 1, 1]))

    drawn = metrics.within_auroc.of(rows.levels(np.array([[1.0, 1.0], [3.0, 1.0], [0.0, 2.0], [0.0, 0.0]])))

    assert drawn == pytest.approx([0.75, 3.5 / 4, 0.5, math.nan], nan_ok=True)


def test_the_calibration_error_of_humanitys_last_exam_leaves_its_last_bin_out() -> None:
    confidence = np.repeat([0.2, 0.5, 0.9], [100, 100, 150])
    correct = np.concatenate([np.arange(100) < 50, np.arange(100) < 90, np.arange(150) < 0]).astype(float)

    # Gaps of .3 and .4 in 100 of 350 responses each; the third bin, with the remainder, is not summed.
    assert metrics.hle_calibration_error(confidence, correct) == pytest.approx(math.sqrt(100 / 350 * (0.09 + 0.16)))
    assert math.isnan(metrics.hle_calibration_error(confidence[:199], correct[:199]))
