from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlcal.functional import (
    brier_score,
    harmonic_confidence,
    log_score,
    minimum_confidence,
    product_confidence,
    spherical_score,
)

Pairing = Callable[[Tensor, Tensor], Tensor]
SCORES: list[Pairing] = [brier_score, log_score, spherical_score]
JOINS: list[Pairing] = [harmonic_confidence, product_confidence, minimum_confidence]


def test_worked_values() -> None:
    stated, right = torch.tensor(0.8), torch.tensor(1.0)
    assert brier_score(stated, right).item() == pytest.approx(0.04, rel=1e-5)
    assert log_score(stated, right).item() == pytest.approx(-math.log(0.8), rel=1e-5)
    assert log_score(stated, 1 - right).item() == pytest.approx(-math.log(0.2), rel=1e-5)
    assert spherical_score(stated, right).item() == pytest.approx(1 - 0.8 / math.sqrt(0.68), rel=1e-5)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("chance", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
def test_stating_the_true_chance_costs_least(score: Pairing, chance: float) -> None:
    levels = torch.arange(11, dtype=torch.float64) / 10
    right, wrong = torch.ones(11, dtype=torch.float64), torch.zeros(11, dtype=torch.float64)
    expected = chance * score(levels, right) + (1 - chance) * score(levels, wrong)
    assert levels[expected.argmin()] == chance
    assert (expected == expected.min()).sum() == 1


@pytest.mark.parametrize("score", [log_score, spherical_score])
def test_a_soft_outcome_gives_the_expected_loss(score: Pairing) -> None:
    stated = torch.tensor([0.2, 0.7])
    expected = 0.3 * score(stated, torch.ones(2)) + 0.7 * score(stated, torch.zeros(2))
    torch.testing.assert_close(score(stated, torch.full((2,), 0.3)), expected)


@pytest.mark.parametrize("score", SCORES)
def test_right_and_wrong_mirror_each_other(score: Pairing) -> None:
    stated = torch.linspace(0, 1, 11)
    torch.testing.assert_close(score(stated, torch.ones(11)), score(1 - stated, torch.zeros(11)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("score", [brier_score, spherical_score])
def test_bounded_scores_run_from_zero_to_one(score: Pairing) -> None:
    assert score(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])).tolist() == [0.0, 0.0]
    assert score(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).tolist() == [1.0, 1.0]


def test_a_certain_mistake_costs_the_log_of_the_floor() -> None:
    cost = log_score(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]), floor=0.01)
    torch.testing.assert_close(cost, torch.tensor([-math.log(0.01), -math.log(0.99)]))


@pytest.mark.parametrize("floor", [0.0, 0.5, -1.0])
def test_a_floor_that_leaves_no_room_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match="`floor` must lie between 0 and"):
        log_score(torch.tensor([0.5]), torch.tensor([1.0]), floor=floor)


@pytest.mark.parametrize("pairing", SCORES + JOINS)
def test_absent_confidences_pass_through_and_shapes_broadcast(pairing: Pairing) -> None:
    table = pairing(torch.tensor([[0.5], [float("nan")]]), torch.tensor([0.0, 0.5, 1.0]))
    assert table.shape == (2, 3)
    assert table[0].isfinite().all()
    assert table[1].isnan().all()


def test_joined_confidences_of_a_worked_pair() -> None:
    visual, reasoning = torch.tensor([0.5]), torch.tensor([1.0])
    assert harmonic_confidence(visual, reasoning).item() == pytest.approx(2 / 3)
    assert product_confidence(visual, reasoning).item() == 0.5
    assert minimum_confidence(visual, reasoning).item() == 0.5


@pytest.mark.parametrize("join", JOINS)
def test_nothing_known_on_one_side_is_nothing_known(join: Pairing) -> None:
    visual = torch.tensor([0.0, 0.0, 1.0], requires_grad=True)
    joined = join(visual, torch.tensor([0.0, 1.0, 0.0]))
    assert joined.tolist() == [0.0, 0.0, 0.0]
    joined.sum().backward()
    assert visual.grad is not None
    assert visual.grad.isfinite().all()


@pytest.mark.parametrize("join", JOINS)
def test_joining_is_symmetric_rises_and_stays_within_bounds(join: Pairing) -> None:
    levels = torch.arange(11) / 10
    table = join(levels[:, None], levels)
    torch.testing.assert_close(table, table.T)
    assert (table.diff(dim=1) >= 0).all()
    assert table.min() == 0
    assert table.max() == 1


def test_harmonic_mean_of_equals_is_the_value_itself() -> None:
    levels = torch.arange(11) / 10
    torch.testing.assert_close(harmonic_confidence(levels, levels), levels)
