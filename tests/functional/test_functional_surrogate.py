from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlcal.functional import (
    clipped_surrogate,
    k3_penalty,
    sequence_mean_token_mean,
    sequence_mean_token_sum_norm,
    token_mean,
)


def surrogate(log_ratio: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
    return clipped_surrogate(log_ratio, torch.zeros_like(log_ratio), advantages, 0.2, 0.3, 3.0)


# ratio, advantage, loss, clipped
CASES = [
    (1.0, 1.0, -1.0, False),
    (1.25, 1.0, -1.25, False),
    (2.0, 1.0, -1.3, True),
    (0.5, 1.0, -0.5, False),  # worse than before in a good response: must stay free to come back
    (2.0, -1.0, 2.0, False),
    (0.5, -1.0, 0.8, True),
    (4.0, -1.0, 3.0, True),  # the dual clip
    (4.0, 0.0, 0.0, False),
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "clipped"), CASES)
def test_worked_values(ratio: float, advantage: float, loss: float, clipped: bool) -> None:
    found, held = surrogate(torch.tensor([[ratio]]).log(), torch.tensor([[advantage]]))
    assert found.item() == pytest.approx(loss)
    assert held.item() is clipped


def test_the_gradient_is_zero_exactly_where_a_clip_holds() -> None:
    ratio, advantages = (torch.tensor([[case[column] for case in CASES]]) for column in (0, 1))
    log_probs = ratio.log().requires_grad_()
    loss, clipped = surrogate(log_probs, advantages)
    loss.sum().backward()
    torch.testing.assert_close(log_probs.grad, torch.where(clipped, 0, -advantages * ratio))


def test_the_first_step_has_the_policy_gradient() -> None:
    log_probs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    advantages = torch.tensor([[0.5, -2.0]])
    clipped_surrogate(log_probs, log_probs.detach(), advantages, 0.2, 0.3, 3.0)[0].sum().backward()
    assert log_probs.grad is not None
    torch.testing.assert_close(log_probs.grad, -advantages)


@pytest.mark.parametrize("advantage", [-1.0, 0.0, 1.0])
def test_no_ratio_overflows(advantage: float) -> None:
    log_probs = torch.tensor([[-1000.0, 1000.0]], requires_grad=True)
    loss, _ = clipped_surrogate(log_probs, torch.zeros(1, 2), torch.full((1, 2), advantage), 0.2, 0.3, math.inf)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert log_probs.grad is not None
    assert log_probs.grad.isfinite().all()


def test_loss_follows_the_scale_of_the_advantages() -> None:
    log_ratio = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    advantages = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    loss, clipped = surrogate(log_ratio, advantages)
    thrice, clipped_still = surrogate(log_ratio, 3 * advantages)
    torch.testing.assert_close(thrice, 3 * loss)
    assert torch.equal(clipped, clipped_still)


@pytest.mark.parametrize("bounds", [(-0.1, 0.3, 3.0), (1.0, 0.3, 3.0), (0.2, -0.1, 3.0), (0.2, 0.3, 1.0)])
def test_bounds_that_exclude_a_ratio_of_one_are_refused(bounds: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="`clip_low` must lie in"):
        clipped_surrogate(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1), *bounds)


def test_penalty_of_a_worked_pair_is_zero_between_equals() -> None:
    penalty = k3_penalty(torch.tensor([[-1.0, -1.0, -2.0]]), torch.tensor([[-1.0, -2.0, -1.0]]))
    expected = [0.0, math.exp(-1) - 1 + 1, math.exp(1) - 1 - 1]
    torch.testing.assert_close(penalty, torch.tensor([expected]))


def test_penalty_pulls_towards_the_reference() -> None:
    log_probs = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
    k3_penalty(log_probs, torch.full((1, 3), -2.0)).sum().backward()
    assert log_probs.grad is not None
    torch.testing.assert_close(log_probs.grad, torch.tensor([[1 - math.exp(-1), 0.0, 1 - math.exp(1)]]))


def test_penalty_cannot_overflow() -> None:
    log_probs = torch.tensor([[-5000.0, 0.0]], requires_grad=True)
    penalty = k3_penalty(log_probs, torch.tensor([[0.0, -5000.0]]))
    penalty.sum().backward()
    assert penalty.isfinite().all()
    assert log_probs.grad is not None
    assert log_probs.grad.isfinite().all()


LOSSES = torch.tensor([[1.0, 2.0, 3.0], [10.0, 0.0, 0.0], [5.0, 5.0, 5.0]])
MASK = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])


def test_aggregations_of_a_worked_table() -> None:
    assert token_mean(LOSSES, MASK).item() == 16 / 4
    assert sequence_mean_token_mean(LOSSES, MASK).item() == (2 + 10) / 2
    assert sequence_mean_token_sum_norm(LOSSES, MASK, length=4).item() == pytest.approx((6 + 10) / 4 / 3)


AGGREGATIONS = [
    token_mean,
    sequence_mean_token_mean,
    lambda losses, mask: sequence_mean_token_sum_norm(losses, mask, length=3),
]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_what_the_mask_leaves_out_has_no_say(aggregation: Callable[..., Tensor]) -> None:
    losses = torch.where(MASK, LOSSES, torch.nan).requires_grad_()
    total = aggregation(losses, MASK)
    total.backward()
    torch.testing.assert_close(total, aggregation(LOSSES, MASK))
    assert losses.grad is not None
    assert (losses.grad[~MASK] == 0).all()
    assert (losses.grad[MASK] > 0).all()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_an_empty_mask_gives_zero_with_a_zero_gradient(aggregation: Callable[..., Tensor]) -> None:
    losses = LOSSES.clone().requires_grad_()
    total = aggregation(losses, torch.zeros_like(MASK))
    total.backward()
    assert total.item() == 0
    assert losses.grad is not None
    assert (losses.grad == 0).all()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_order_and_padding_change_nothing(aggregation: Callable[..., Tensor]) -> None:
    padded = torch.nn.functional.pad(LOSSES, (0, 2)).flip(0), torch.nn.functional.pad(MASK, (0, 2)).flip(0)
    torch.testing.assert_close(aggregation(*padded), aggregation(LOSSES, MASK))


def test_a_length_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="`length` must be at least 1"):
        sequence_mean_token_sum_norm(LOSSES, MASK, length=0)
