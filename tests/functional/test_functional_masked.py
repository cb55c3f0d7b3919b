from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vlcal.functional import masked_mean, masked_std, masked_sum

NAN = float("nan")


def test_sum_counts_only_what_the_mask_counts() -> None:
    values = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert masked_sum(values, mask).tolist() == [5.0, 0.0]
    assert masked_sum(values, mask, dim=0).tolist() == [1.0, 0.0, 4.0]


def test_mean_of_nothing_is_nan_and_not_zero() -> None:
    mean = masked_mean(torch.tensor([[2.0, 6.0], [2.0, 6.0]]), torch.tensor([[True, True], [False, False]]))
    assert mean[0] == 4.0
    assert mean[1].isnan()


@pytest.mark.parametrize("statistic", [masked_sum, masked_mean, masked_std])
def test_nan_outside_the_mask_changes_nothing(statistic: Callable[..., Tensor]) -> None:
    mask = torch.tensor([True, True, False])
    spoiled = statistic(torch.tensor([1.0, 3.0, NAN]), mask)
    assert torch.equal(spoiled, statistic(torch.tensor([1.0, 3.0, 0.0]), mask))


@pytest.mark.parametrize("statistic", [masked_sum, masked_mean, masked_std])
@pytest.mark.parametrize("counting", [0, 1, 3])
def test_gradient_is_finite_and_zero_outside_the_mask(statistic: Callable[..., Tensor], counting: int) -> None:
    values = torch.tensor([1.0, 1.0, 1.0, 5.0], requires_grad=True)
    mask = torch.arange(4) < counting
    statistic(values, mask).nan_to_num().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert (values.grad[~mask] == 0).all()


def test_std_divides_by_the_number_of_values() -> None:
    values = torch.tensor([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert masked_std(values, torch.ones(8, dtype=torch.bool)) == 2.0


def test_std_of_one_value_is_zero_and_of_none_is_nan() -> None:
    mask = torch.tensor([[True, False], [False, False]])
    std = masked_std(torch.tensor([[0.1, 9.0], [0.1, 9.0]]), mask)
    assert std[0] == 0
    assert std[1].isnan()
    assert masked_std(torch.empty(2, 0), torch.empty(2, 0, dtype=torch.bool)).isnan().all()


def test_equal_values_have_no_spread_whatever_their_mean_was_rounded_to() -> None:
    values = torch.full((7,), 0.1)
    assert values.mean() != values[0]  # the trap: the deviation from this mean is not 0
    assert masked_std(values, torch.ones(7, dtype=torch.bool)) == 0


def test_an_infinite_value_is_not_taken_for_a_flat_row() -> None:
    assert masked_std(torch.tensor([1.0, torch.inf]), torch.ones(2, dtype=torch.bool)).isnan()


def test_values_apart_by_one_rounding_step_have_no_spread() -> None:
    below, above = torch.tensor(0.3), torch.nextafter(torch.tensor(0.3), torch.tensor(1.0))
    assert masked_std(torch.stack([below, above]), torch.ones(2, dtype=torch.bool)) == 0


@settings(deadline=None, max_examples=50)
@given(
    values=st.lists(st.integers(-64, 64), min_size=2, max_size=12),
    shift=st.integers(-8, 8),
    scale=st.sampled_from([0.25, 2.0, -4.0]),
)
def test_std_ignores_shift_and_order_and_follows_scale(values: list[int], shift: int, scale: float) -> None:
    row, everything = torch.tensor(values, dtype=torch.float64), torch.ones(len(values), dtype=torch.bool)
    moved = masked_std((row * scale + shift).flip(0), everything)
    torch.testing.assert_close(moved, abs(scale) * masked_std(row, everything))
