from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlcal.functional import group_centered, group_standardized, in_groups, leave_one_out

Estimator = Callable[[Tensor, int], Tensor]
ESTIMATORS = [group_centered, group_standardized, leave_one_out]


def test_worked_values() -> None:
    rewards = torch.tensor([3.0, 0.0, 0.0, 1.0, 2.0, 3.0])
    assert group_centered(rewards, 3).tolist() == [2.0, -1.0, -1.0, -1.0, 0.0, 1.0]
    assert leave_one_out(rewards, 3).tolist() == [3.0, -1.5, -1.5, -1.5, 0.0, 1.5]
    torch.testing.assert_close(group_standardized(rewards, 3, eps=0.0)[3:], torch.tensor([-1.0, 0.0, 1.0]))


def test_eps_is_added_to_the_deviation() -> None:
    torch.testing.assert_close(
        group_standardized(torch.tensor([1.0, 2.0, 3.0]), 3, eps=1.0), torch.tensor([-0.5, 0.0, 0.5])
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("reward", [0.1, -1.7, 1e4, 0.0])
@pytest.mark.parametrize("group_size", [2, 7, 8])
def test_equal_rewards_give_zero_advantage(estimator: Estimator, reward: float, group_size: int) -> None:
    rewards = torch.full((2 * group_size,), reward)
    assert (estimator(rewards, group_size) == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rewards_equal_up_to_rounding_give_zero_advantage(estimator: Estimator) -> None:
    one_way, other_way = torch.tensor(0.1) + 0.2 + 0.7, torch.tensor(0.7) + 0.2 + 0.1
    rewards = torch.stack([one_way, other_way, torch.nextafter(one_way, torch.tensor(2.0)), one_way])
    assert (estimator(rewards, 4) == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_flat_group_does_not_silence_its_neighbour(estimator: Estimator) -> None:
    advantages = estimator(torch.tensor([0.3, 0.3, 0.0, 1.0]), 2)
    assert advantages[:2].tolist() == [0.0, 0.0]
    assert advantages[2] < 0 < advantages[3]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_advantages_sum_to_zero_in_each_group_and_ignore_a_shift(estimator: Estimator) -> None:
    rewards = torch.randn(24, generator=torch.Generator().manual_seed(0))
    advantages = estimator(rewards, 8)
    torch.testing.assert_close(in_groups(advantages, 8).sum(-1), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(estimator(rewards + 2, 8), advantages, rtol=1e-4, atol=1e-5)


def test_only_the_standardised_ignores_scale() -> None:
    rewards = torch.tensor([1.0, 0.0, 4.0])
    torch.testing.assert_close(group_standardized(10 * rewards, 3), group_standardized(rewards, 3))
    torch.testing.assert_close(group_centered(10 * rewards, 3), 10 * group_centered(rewards, 3))


def test_leaving_one_out_is_the_reward_less_the_mean_of_the_others() -> None:
    rewards = torch.tensor([0.2, 0.9, -1.0, 3.0])
    others = torch.stack([rewards[torch.arange(4) != row].mean() for row in range(4)])
    torch.testing.assert_close(leave_one_out(rewards, 4), rewards - others)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("group_size", [1, 0, -2])
def test_a_lone_completion_is_refused(estimator: Estimator, group_size: int) -> None:
    message = f"`group_size` must be at least 2, since a lone completion has no baseline; got {group_size}."
    with pytest.raises(ValueError, match=message):
        estimator(torch.zeros(4), group_size)


def test_a_torn_group_is_refused() -> None:
    with pytest.raises(ValueError, match="divide the number of completions; got 3 for 4"):
        group_centered(torch.zeros(4), 3)
