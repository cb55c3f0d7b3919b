"""Proper scores and overall confidences."""

from __future__ import annotations

import math

import pytest
import torch

from vlcal.scores import Brier, HarmonicMean, LogScore, Minimum, OverallConfidence, Product, ProperScore, SphericalScore

SCORES = [Brier(), LogScore(), LogScore(floor=0.01), SphericalScore()]


def test_worked_scores_of_confidence_three_quarters_that_came_true() -> None:
    confidence, outcome = torch.tensor(0.75), torch.tensor(1.0)
    assert float(Brier()(confidence, outcome)) == pytest.approx(0.0625)
    assert float(LogScore()(confidence, outcome)) == pytest.approx(-math.log(0.75))
    assert float(SphericalScore()(confidence, outcome)) == pytest.approx(1 - 0.75 / math.sqrt(0.75**2 + 0.25**2))


@pytest.mark.parametrize("score", SCORES)
def test_certainty_in_the_wrong_costs_exactly_the_worst(score: ProperScore) -> None:
    losses = score(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(losses, torch.full((2,), score.worst))


@pytest.mark.parametrize("score", SCORES)
def test_no_level_costs_more_than_the_worst_whatever_the_outcome(score: ProperScore) -> None:
    grid = torch.linspace(0.0, 1.0, 21)
    assert float(score(grid[:, None], grid[None, :]).max()) <= score.worst + 1e-4


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("truth", [0.1, 0.3, 0.5, 0.8])
def test_stating_the_true_probability_has_the_smallest_expected_score(score: ProperScore, truth: float) -> None:
    levels = torch.linspace(0.0, 1.0, 11)
    expected = truth * score(levels, torch.tensor(1.0)) + (1.0 - truth) * score(levels, torch.tensor(0.0))
    assert float(levels[expected.argmin()]) == pytest.approx(truth)


def test_the_log_score_refuses_a_floor_of_zero() -> None:
    with pytest.raises(ValueError, match=r"`floor` must lie in \(0, 0.5\).*got 0.0"):
        LogScore(floor=0.0)


def test_worked_overall_confidences() -> None:
    visual, reasoning = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0])
    torch.testing.assert_close(HarmonicMean()(visual, reasoning), torch.tensor([2 / 3, 0.0]))
    torch.testing.assert_close(Product()(visual, reasoning), torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(Minimum()(visual, reasoning), torch.tensor([0.5, 0.0]))


@pytest.mark.parametrize("overall", [HarmonicMean(), Product(), Minimum()])
def test_overall_confidence_is_symmetric_and_absent_where_either_is(overall: OverallConfidence) -> None:
    visual, reasoning = torch.tensor([0.2, 0.9, float("nan")]), torch.tensor([0.7, 0.4, 0.5])
    torch.testing.assert_close(overall(visual, reasoning), overall(reasoning, visual), equal_nan=True)
    assert overall(visual, reasoning).isnan().tolist() == [False, False, True]
