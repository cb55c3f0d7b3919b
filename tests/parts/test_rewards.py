"""Reward terms and their sum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.parts.conftest import attempted
from vlcal.rewards import (
    AccuracyReward,
    Attempts,
    CalibrationReward,
    FormatReward,
    ReasoningReward,
    Reward,
    VisualReward,
    ZeroReward,
    combine,
)
from vlcal.scores import LogScore
from vlcal.types import Certainty, Responses

NAN = float("nan")
MakeResponses = Callable[..., Responses]
MakeCertainty = Callable[..., Certainty]


class Half(Reward):
    """Half a point for everybody."""

    def __call__(self, attempts: Attempts) -> Tensor:
        return torch.full_like(attempts.responses.correct, 0.5)


class Broken(Reward):
    """A reward that forgot that a confidence may be absent."""

    def __call__(self, attempts: Attempts) -> Tensor:
        return attempts.responses.visual


@pytest.fixture
def step(make_responses: MakeResponses, make_certainty: MakeCertainty) -> Attempts:
    """Four responses: right and sure, wrong and unsure, without confidence, without a vision part."""
    responses = make_responses(
        visual=[1.0, 0.4, NAN, 0.5],
        reasoning=[0.8, 0.5, NAN, 1.0],
        correct=[1.0, 0.0, 1.0, 0.25],
        well_formed=[True, True, False, True],
    )
    return attempted(responses, make_certainty([0.5, 0.1, 0.9, NAN]), 4)


def test_worked_rewards(step: Attempts) -> None:
    """The overall confidence of the made responses is the product of both."""
    assert AccuracyReward()(step).tolist() == [1.0, 0.0, 1.0, 0.25]
    assert FormatReward()(step).tolist() == [1.0, 1.0, 0.0, 1.0]
    torch.testing.assert_close(CalibrationReward()(step), torch.tensor([-0.04, -0.04, -1.0, -0.0625]))
    torch.testing.assert_close(VisualReward()(step), torch.tensor([-0.25, -0.09, -1.0, 0.0]))
    concluded = replace(step.certainty, reasoning=torch.tensor([0.3, NAN, 0.9, 0.9]))
    torch.testing.assert_close(
        ReasoningReward()(replace(step, certainty=concluded)), torch.tensor([-0.25, 0.0, -1.0, -0.01])
    )
    assert ZeroReward()(step).tolist() == [0.0] * 4


def test_a_confidence_that_is_absent_beside_an_absent_label_is_charged_all_the_same(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    assert VisualReward()(attempted(make_responses(visual=[NAN]), make_certainty([NAN]), 1)).tolist() == [-1.0]


@pytest.mark.parametrize("member", [CalibrationReward, VisualReward])
def test_silence_never_pays_better_than_being_sure_and_wrong(
    member: Callable[..., Reward], make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    responses = make_responses(visual=[1.0, NAN], correct=[0.0, 0.0])
    wrong, silent = member(score=LogScore(0.01))(attempted(responses, make_certainty([0.0, 0.0]), 2)).tolist()
    assert wrong == pytest.approx(math.log(0.01), rel=1e-4)
    assert silent == pytest.approx(wrong, rel=1e-4)


@pytest.mark.parametrize("reward", [AccuracyReward(), FormatReward(), CalibrationReward(), VisualReward()])
def test_rewards_move_with_their_responses(
    reward: Reward, step: Attempts, make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    turned = make_responses(
        visual=[0.5, NAN, 0.4, 1.0],
        reasoning=[1.0, NAN, 0.5, 0.8],
        correct=[0.25, 1.0, 0.0, 1.0],
        well_formed=[True, False, True, True],
    )
    expected = reward(step).flip(0)
    torch.testing.assert_close(reward(attempted(turned, make_certainty([NAN, 0.9, 0.1, 0.5]), 4)), expected)


def test_default_weights_are_those_of_the_release() -> None:
    rewards = [AccuracyReward(), CalibrationReward(), FormatReward(), VisualReward(), ZeroReward()]
    assert [reward.weight for reward in rewards] == [1.0, 2.0, 0.4, 0.4, 1.0]


def test_the_total_is_the_weighted_sum_and_the_terms_stay_unweighted(step: Attempts) -> None:
    rewards = combine({"accuracy": AccuracyReward(weight=2.0), "half": Half(weight=-1.0)}, step)
    assert rewards.terms["accuracy"].tolist() == [1.0, 0.0, 1.0, 0.25]
    assert rewards.terms["half"].tolist() == [0.5] * 4
    assert rewards.total.tolist() == [1.5, -0.5, 1.5, 0.0]


def test_a_reward_of_zero_changes_no_total(step: Attempts) -> None:
    alone = combine({"accuracy": AccuracyReward()}, step)
    beside = combine({"accuracy": AccuracyReward(), "nothing": ZeroReward()}, step)
    assert torch.equal(alone.total, beside.total)


def test_a_moved_weight_counts_from_the_next_step_on(step: Attempts) -> None:
    half = Half()
    half.weight = 4.0
    assert combine({"half": half}, step).total.tolist() == [2.0] * 4


def test_a_reward_that_is_not_finite_is_refused_by_name(step: Attempts) -> None:
    with pytest.raises(ValueError, match=r"`rewards.mine` must be finite.*got 1 of 4 rows.*Broken"):
        combine({"mine": Broken()}, step)


def test_no_rewards_and_a_weight_that_is_no_number_are_refused(step: Attempts) -> None:
    with pytest.raises(ValueError, match="`rewards` must name at least one reward"):
        combine({}, step)
    with pytest.raises(ValueError, match="`weight` must be a finite number; got nan"):
        AccuracyReward(weight=NAN)


class Shown(Reward):
    """Pays where the text, the question and a column of the row are the given ones."""

    def __call__(self, attempts: Attempts) -> Tensor:
        asked, texts = attempts.asked, attempts.rollouts.texts
        shown = zip(texts, asked.questions, asked.extras, strict=True)
        return torch.tensor([float(one == ("text 3", "question 1", {"source": "table 1"})) for one in shown])


def test_a_reward_sees_text_question_and_the_other_columns_of_the_row(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Two completions each of two questions: the fourth text answers the second question."""
    attempts = attempted(make_responses(visual=[0.5] * 4), make_certainty([0.5] * 4), 2)

    assert Shown()(attempts).tolist() == [0.0, 0.0, 0.0, 1.0]
