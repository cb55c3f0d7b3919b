"""Advantage estimators and reweighters."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from vlcal.advantages import (
    GroupCentered,
    GroupStandardized,
    LeaveOneOut,
    NoBaseline,
    ResponseAdvantage,
    UniformReweighter,
    VisualCertaintyReweighter,
)
from vlcal.types import Certainty, Responses, Rollouts

GROUPED = [GroupStandardized(), GroupCentered(), LeaveOneOut()]
VISION = [[True, True, True, False], [True, True, True, False]]
ADVANTAGES = torch.tensor([[-1.0] * 4, [1.0] * 4])
TOKEN = torch.tensor([[0.0, 0.5, 1.0, 0.0], [0.0, 0.5, 1.0, 0.0]])


@pytest.fixture
def seen(
    make_responses: Callable[..., Responses], make_certainty: Callable[..., Certainty]
) -> tuple[Certainty, Responses]:
    """A bad and a good response, each with an ungrounded, a neutral and a grounded vision token and one other."""
    return make_certainty([0.5, 0.5], token=TOKEN), make_responses(visual=[0.5, 0.5], vision=VISION)


def test_worked_advantages() -> None:
    rewards = torch.tensor([1.0, 0.0, 4.0, 8.0])
    torch.testing.assert_close(GroupCentered().of_responses(rewards, 2), torch.tensor([0.5, -0.5, -2.0, 2.0]))
    torch.testing.assert_close(LeaveOneOut().of_responses(rewards, 2), torch.tensor([1.0, -1.0, -4.0, 4.0]))
    edge = math.sqrt(0.5)
    torch.testing.assert_close(
        GroupStandardized().of_responses(rewards, 2), torch.tensor([edge, -edge, -edge, edge]), rtol=1e-5, atol=1e-5
    )
    assert NoBaseline().of_responses(rewards, 2).tolist() == rewards.tolist()


@pytest.mark.parametrize("estimator", GROUPED)
def test_equal_rewards_give_zero_advantage(estimator: ResponseAdvantage) -> None:
    assert estimator.of_responses(torch.full((16,), 0.1), 8).tolist() == [0.0] * 16


@pytest.mark.parametrize("estimator", GROUPED)
def test_a_bonus_for_the_whole_group_changes_no_advantage(estimator: ResponseAdvantage) -> None:
    rewards = torch.tensor([0.0, 1.0, 0.5, 0.25])
    torch.testing.assert_close(estimator.of_responses(rewards + 2.0, 4), estimator.of_responses(rewards, 4))


@pytest.mark.parametrize("estimator", GROUPED)
def test_a_lone_completion_is_refused(estimator: ResponseAdvantage) -> None:
    with pytest.raises(ValueError, match="`group_size` must be at least 2.*got 1"):
        estimator.of_responses(torch.tensor([1.0, 0.0]), 1)


def test_no_baseline_takes_a_lone_completion() -> None:
    assert NoBaseline().of_responses(torch.tensor([1.0, 0.0]), 1).tolist() == [1.0, 0.0]


def test_every_token_has_the_advantage_of_its_response(make_rollouts: Callable[..., Rollouts]) -> None:
    advantages = GroupCentered()(torch.tensor([1.0, 0.0]), make_rollouts(2, 3, 2))
    assert advantages.tolist() == [[0.5] * 3, [-0.5] * 3]


def test_a_negative_eps_is_refused() -> None:
    with pytest.raises(ValueError, match="`eps` must be at least 0"):
        GroupStandardized(eps=-1.0)


def test_only_vision_tokens_of_a_bad_response_are_reweighted_the_ungrounded_harder(
    seen: tuple[Certainty, Responses],
) -> None:
    weighted = VisualCertaintyReweighter(0.1)(ADVANTAGES, *seen)
    torch.testing.assert_close(weighted, torch.tensor([[-1.1, -1.0, -0.9, -1.0], [1.0, 1.0, 1.0, 1.0]]))


def test_reweighting_scales_with_the_advantage_and_keeps_its_sign(seen: tuple[Certainty, Responses]) -> None:
    reweighter = VisualCertaintyReweighter(1.0)
    weighted = reweighter(ADVANTAGES, *seen)
    torch.testing.assert_close(reweighter(3 * ADVANTAGES, *seen), 3 * weighted)
    assert (weighted * ADVANTAGES >= 0).all()


def test_strength_zero_and_the_uniform_reweighter_change_nothing(seen: tuple[Certainty, Responses]) -> None:
    reweighter = VisualCertaintyReweighter()
    reweighter.strength = 0.0
    assert torch.equal(reweighter(ADVANTAGES, *seen), ADVANTAGES)
    assert torch.equal(UniformReweighter()(ADVANTAGES, *seen), ADVANTAGES)


def test_a_strength_that_could_turn_a_sign_is_refused_at_once_and_later() -> None:
    with pytest.raises(ValueError, match=r"`strength` must lie in \[0, 1\].*got 1.5"):
        VisualCertaintyReweighter(1.5)
    with pytest.raises(ValueError, match=r"`strength` must lie in \[0, 1\]"):
        VisualCertaintyReweighter().strength = -0.1
