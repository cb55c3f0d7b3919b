"""Policy objectives and loss aggregation."""

from __future__ import annotations

import math

import pytest
import torch

from vlcal.objectives import (
    ClippedSurrogate,
    LossAggregation,
    NoPolicyObjective,
    SequenceMeanTokenMean,
    SequenceMeanTokenSumNorm,
    TokenMean,
)

MASK = torch.tensor([[True, True, True], [True, False, False]])
ADVANTAGES = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
OLD = torch.zeros(2, 3)
AGGREGATIONS = [TokenMean(), SequenceMeanTokenMean(), SequenceMeanTokenSumNorm(length=4)]


def test_worked_aggregations() -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0], [10.0, 99.0, 99.0]])
    assert [float(aggregation(losses, MASK)) for aggregation in AGGREGATIONS] == [4.0, 6.0, 2.0]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_masked_tokens_move_neither_loss_nor_gradient_even_when_not_finite(aggregation: LossAggregation) -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0], [10.0, float("nan"), float("inf")]], requires_grad=True)
    loss = aggregation(losses, MASK)
    loss.backward()
    assert loss.isfinite()
    assert losses.grad is not None
    assert (losses.grad[~MASK] == 0).all()
    assert (losses.grad[MASK] > 0).all()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_an_empty_mask_gives_zero_with_zero_gradient(aggregation: LossAggregation) -> None:
    losses = torch.ones(2, 3, requires_grad=True)
    loss = aggregation(losses, torch.zeros_like(MASK))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert losses.grad is not None
    assert (losses.grad == 0).all()


def test_a_length_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="`length` must be at least 1 token.*got 0"):
        SequenceMeanTokenSumNorm(length=0)


def test_at_the_sampling_policy_the_gradient_is_minus_the_advantage_over_the_number_of_tokens() -> None:
    log_probs = torch.zeros(2, 3, requires_grad=True)
    update = ClippedSurrogate()(log_probs, OLD, ADVANTAGES, MASK)
    update.loss.backward()
    torch.testing.assert_close(log_probs.grad, torch.where(MASK, -ADVANTAGES / 4, 0.0))
    assert update.stats == pytest.approx({"policy_loss": -0.5, "clip_fraction": 0.0, "ratio_mean": 1.0})


def test_a_ratio_beyond_its_bound_is_clipped_and_counted() -> None:
    log_probs = torch.tensor([[math.log(1.5), 0.0, 0.0], [math.log(0.5), 0.0, 0.0]], requires_grad=True)
    update = ClippedSurrogate()(log_probs, OLD, ADVANTAGES, MASK)
    update.loss.backward()
    assert float(update.loss.detach()) == pytest.approx((-1.3 - 1.0 - 1.0 + 0.8) / 4)
    assert update.stats["clip_fraction"] == pytest.approx(0.5)
    assert update.stats["ratio_mean"] == pytest.approx((1.5 + 1 + 1 + 0.5) / 4)
    assert log_probs.grad is not None
    assert log_probs.grad[:, 0].tolist() == [0.0, 0.0]


def test_dual_clip_bounds_the_loss_of_a_bad_token_that_became_likely() -> None:
    log_probs = torch.tensor([[math.log(10.0)]])
    one = torch.ones(1, 1, dtype=torch.bool)
    update = ClippedSurrogate(dual_clip=3.0)(log_probs, torch.zeros(1, 1), -torch.ones(1, 1), one)
    assert float(update.loss) == pytest.approx(3.0)


@pytest.mark.parametrize(("name", "value"), [("clip_low", 1.0), ("clip_high", -0.1), ("dual_clip", 1.0)])
def test_settings_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must .*got {value}"):
        ClippedSurrogate(**{name: value})


def test_no_policy_objective_gives_a_zero_that_can_be_descended_even_from_minus_infinity() -> None:
    log_probs = torch.tensor([[0.0, -torch.inf, -1.0]] * 2, requires_grad=True)
    update = NoPolicyObjective()(log_probs, OLD, ADVANTAGES, MASK)
    update.loss.backward()
    assert float(update.loss.detach()) == 0.0
    assert log_probs.grad is not None
    assert (log_probs.grad == 0).all()
