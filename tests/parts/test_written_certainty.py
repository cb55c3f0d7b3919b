"""Certainty of what was written: likelihood, its weakest token, its ratio to a perturbed image, agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vlcal.certainty import (
    AgreementCertainty,
    CertaintyEstimator,
    JointCertainty,
    KLEntropyCertainty,
    LikelihoodCertainty,
    LogRatioCertainty,
    MinimumLikelihoodCertainty,
    WindowLabeler,
)
from vlcal.types import Certainty, Evidence, Responses, Rollouts

NAN = float("nan")
# Two vision tokens, one of reasoning, one of the answer; the last response has no image.
PROBS = torch.tensor([[0.5, 0.8, 0.9, 0.5], [1.0, 0.25, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
PERTURBED = torch.tensor([[0.25, 0.4, NAN, NAN], [0.5, 0.5, NAN, NAN], [NAN] * 4])
MakeResponses = Callable[..., Responses]
MakeRollouts = Callable[..., Rollouts]


@pytest.fixture
def measured(make_responses: MakeResponses, make_rollouts: MakeRollouts) -> Callable[..., Certainty]:
    def certainty(estimator: CertaintyEstimator, probs: Tensor = PROBS) -> Certainty:
        kl = torch.tensor([[0.0], [0.0], [NAN]]).expand(3, 4)
        evidence = Evidence(torch.full((3, 4), NAN), torch.ones(3, 4), kl, probs.log(), PERTURBED.log())
        said, place = make_responses([0.5] * 3), torch.arange(4).expand(3, 4)
        spans = replace(said.spans, vision=place < 2, reasoning=place == 2, answer=place == 3)
        return estimator(evidence, make_rollouts(3, 4, 3), replace(said, spans=spans))

    return certainty


@pytest.mark.parametrize(
    ("estimator", "seen", "concluded"),
    [
        (LikelihoodCertainty(), [0.4, 0.25, NAN], [0.45, 0.25, NAN]),
        (MinimumLikelihoodCertainty(), [0.5, 0.25, NAN], [0.5, 0.5, NAN]),
    ],
)
def test_worked_likelihoods(
    measured: Callable[..., Certainty], estimator: CertaintyEstimator, seen: list[float], concluded: list[float]
) -> None:
    certainty = measured(estimator)

    torch.testing.assert_close(certainty.response, torch.tensor(seen), equal_nan=True)
    torch.testing.assert_close(certainty.reasoning, torch.tensor(concluded), equal_nan=True)
    torch.testing.assert_close(certainty.score, certainty.response.log(), equal_nan=True)
    torch.testing.assert_close(certainty.token[0], torch.tensor([0.5, 0.8, 0.5, 0.5]))
    assert (certainty.token[2] == 0.5).all()


def test_the_log_ratio_is_the_mean_over_vision_tokens_and_says_nothing_of_the_reasoning(
    measured: Callable[..., Certainty],
) -> None:
    """With the image both tokens of the first are twice as likely; of the second one twice, the other half."""
    certainty = measured(LogRatioCertainty())

    torch.testing.assert_close(certainty.score, torch.tensor([2.0, 1.0, NAN]).log(), equal_nan=True)
    torch.testing.assert_close(certainty.token[:2, :2], torch.tensor([[2 / 3, 2 / 3], [2 / 3, 1 / 3]]))
    torch.testing.assert_close(certainty.response[:2], torch.tensor([1.0, -1.0]).sigmoid())
    assert certainty.reasoning.isnan().all()


def test_a_likelihood_looks_at_the_tokens_of_its_own_part_alone(measured: Callable[..., Certainty]) -> None:
    other = PROBS.clone()
    other[:, 2:] = 0.1

    before, after = (measured(LikelihoodCertainty(), probs) for probs in (PROBS, other))

    torch.testing.assert_close(before.response, after.response, equal_nan=True)
    assert (before.reasoning[:2] > after.reasoning[:2]).all()


@pytest.fixture
def voted(make_responses: MakeResponses, make_rollouts: MakeRollouts) -> Callable[..., Certainty]:
    """Agreement of two groups of four: of what they read, in one token, and what they answer."""

    def certainty(readings: Sequence[int], answers: Sequence[str | None], forced: Sequence[int] = ()) -> Certainty:
        count = len(readings)
        given = torch.zeros(count, 2, dtype=torch.bool)
        given[list(forced), 0] = True
        rollouts = make_rollouts(count, 2, 4)
        rollouts = replace(rollouts, tokens=torch.tensor([[reading, 9] for reading in readings]), forced=given)
        said = make_responses([0.5] * count, tokens=2, vision=[[True, False]] * count)
        nothing = torch.zeros(count, 2)
        return AgreementCertainty()(
            Evidence(nothing, nothing, nothing), rollouts, replace(said, answers=tuple(answers))
        )

    return certainty


def test_agreement_is_the_share_of_the_others_and_of_those_who_read_alike(voted: Callable[..., Certainty]) -> None:
    certainty = voted([7, 7, 7, 2, 7, 7, 7, 7], ["a", "a", "b", "a", "a", "a", "a", None])

    third = torch.tensor([2, 2, 2, 0, 3, 3, 3, 3]) / 3
    torch.testing.assert_close(certainty.response, third)
    torch.testing.assert_close(certainty.token[:, 0], third)
    concluded = torch.tensor([1 / 2, 1 / 2, 0, NAN, 2 / 3, 2 / 3, 2 / 3, NAN])
    torch.testing.assert_close(certainty.reasoning, concluded, equal_nan=True)


def test_a_forced_reading_is_judged_by_the_others_and_votes_for_no_reading(voted: Callable[..., Certainty]) -> None:
    certainty = voted([7, 7, 7, 2], ["a", "a", "b", "a"], forced=[2])

    torch.testing.assert_close(certainty.response, torch.tensor([1 / 2, 1 / 2, 2 / 3, 0.0]))
    torch.testing.assert_close(certainty.reasoning, torch.tensor([1 / 2, 1 / 2, 0.0, NAN]), equal_nan=True)


def test_a_joint_certainty_takes_each_label_from_its_own_estimator(measured: Callable[..., Certainty]) -> None:
    joint = measured(JointCertainty(KLEntropyCertainty(), MinimumLikelihoodCertainty()))
    seen, concluded = measured(KLEntropyCertainty()), measured(MinimumLikelihoodCertainty())

    for field in ("token", "response", "score"):
        torch.testing.assert_close(getattr(joint, field), getattr(seen, field), equal_nan=True)
    torch.testing.assert_close(joint.reasoning, concluded.reasoning, equal_nan=True)


def test_a_joint_certainty_remembers_what_both_remember(measured: Callable[..., Certainty]) -> None:
    used, fresh = (JointCertainty(LogRatioCertainty(WindowLabeler()), KLEntropyCertainty()) for _ in range(2))
    measured(used)

    fresh.load_state_dict(used.state_dict())

    torch.testing.assert_close(measured(used).response, measured(fresh).response, equal_nan=True)
