"""Forked groups: what the reading earns, what the conclusion earns, and what the outcomes say about both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from vlcal.advantages import ForkedAdvantages, LeaveOneOut
from vlcal.certainty import ForkedCertainty
from vlcal.types import Certainty, Evidence, Responses, Rollouts

NAN = float("nan")


def forked(readings: Sequence[int], given: Sequence[bool], size: int, alone: Sequence[int] = ()) -> Rollouts:
    """Completions of two tokens, the first a reading that is shared but by those alone, the second what follows."""
    tokens = torch.stack([torch.tensor(readings), torch.arange(len(readings))], 1)
    first = torch.tensor([True, False]).expand(tokens.shape).clone()
    shared = first.clone()
    shared[list(alone)] = False
    texts, whole = ("",) * len(tokens), torch.zeros(len(tokens), dtype=torch.bool)
    return Rollouts(
        tokens,
        tokens >= 0,
        tokens * 0.0,
        texts,
        whole,
        size,
        forced=first & torch.tensor(given)[:, None],
        shared=shared,
    )


# Advantages


def test_a_reading_earns_what_its_continuations_earn_and_a_conclusion_what_its_sibling_did_not() -> None:
    """The first reading suffices and one conclusion from it is wrong; from the second nothing right follows."""
    rollouts = forked([7, 7, 2, 2], [False, True, False, True], 4)

    advantages = ForkedAdvantages()(torch.tensor([1.0, 0.0, 0.0, 0.0]), rollouts)

    torch.testing.assert_close(advantages[[0, 2], 0], torch.tensor([0.5, -0.5]))
    torch.testing.assert_close(advantages[:, 1], torch.tensor([1.0, -1.0, 0.0, 0.0]))


def test_forked_advantages_have_the_mean_of_the_true_gradient() -> None:
    """By enumeration of two readings with two conclusions each, those included where both readings are the same."""
    rewards = torch.tensor([[1.0, 0.0], [0.1, 0.2]], dtype=torch.float64)
    seeing = torch.tensor([0.3, -0.4], dtype=torch.float64, requires_grad=True)
    concluding = torch.tensor([[0.5, 0.1], [-0.2, 0.9]], dtype=torch.float64, requires_grad=True)
    seen, concluded = seeing.log_softmax(-1), concluding.log_softmax(-1)
    value = (seen[:, None].exp() * concluded.exp() * rewards).sum()

    drawn = torch.tensor(list(product((0, 1), repeat=6)))
    readings, answers = drawn[:, [0, 0, 1, 1]], drawn[:, 2:]
    log_seen, log_concluded = seen[drawn[:, :2]], concluded[readings, answers]
    chance = (log_seen.sum(1) + log_concluded.sum(1)).exp().detach()
    rollouts = forked(readings.flatten().tolist(), [False, True] * 2 * len(drawn), 4)
    advantages = ForkedAdvantages()(rewards[readings, answers].flatten(), rollouts).reshape(len(drawn), 4, 2)
    credited = (advantages[:, ::2, 0] * log_seen).mean(1) + (advantages[:, :, 1] * log_concluded).mean(1)

    expected = torch.autograd.grad(value, [seeing, concluding], retain_graph=True)
    found = torch.autograd.grad((chance * credited).sum(), [seeing, concluding])
    for gradient, true in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, true)
    assert min(float(true.norm()) for true in expected) > 0.01


def test_without_a_fork_all_tokens_have_the_advantage_over_the_others() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.25, 0.5])
    rollouts = forked([7, 7, 2, 2], [False] * 4, 4, alone=range(4))

    advantages = ForkedAdvantages()(rewards, rollouts)

    torch.testing.assert_close(advantages, LeaveOneOut()(rewards, rollouts).contiguous())


@pytest.mark.parametrize("reward", [0.1, 1 / 3])
def test_equal_rewards_of_forks_teach_exactly_nothing(reward: float) -> None:
    rollouts = forked([7, 7, 7, 2, 2, 2, 2, 2], [False, True] * 4, 8, alone=[7])

    assert not ForkedAdvantages()(torch.full((8,), reward), rollouts).any()


def test_a_bonus_for_the_whole_group_changes_no_forked_advantage() -> None:
    rollouts = forked([7, 7, 2, 2], [False, True, False, True], 4)
    rewards = torch.tensor([1.0, 0.0, 0.5, 0.25])

    torch.testing.assert_close(ForkedAdvantages()(rewards + 2.0, rollouts), ForkedAdvantages()(rewards, rollouts))


# Certainty


@pytest.fixture
def judged(make_responses: Callable[..., Responses]) -> Callable[..., Certainty]:
    """Labels of forks with these verdicts; every completion has a vision part of one token."""

    def certainty(correct: Sequence[float], rollouts: Rollouts) -> Certainty:
        count = len(correct)
        said = make_responses(
            [0.5] * count, correct=[float(one) for one in correct], tokens=2, vision=[[True, False]] * count
        )
        nothing = torch.zeros(count, 2)
        return ForkedCertainty()(Evidence(nothing, nothing, nothing), rollouts, said)

    return certainty


def test_worked_labels_of_forks(judged: Callable[..., Certainty]) -> None:
    """Three continuations of a reading with one right, three of another with two right, and one of its own."""
    rollouts = forked([7, 7, 7, 2, 2, 2, 5], [False] * 7, 7, alone=[6])

    certainty = judged([1, 0, 0, 0, 1, 1, 1], rollouts)

    torch.testing.assert_close(certainty.response, torch.tensor([1.0] * 6 + [NAN]), equal_nan=True)
    torch.testing.assert_close(certainty.score, torch.tensor([1 / 3] * 3 + [2 / 3] * 3 + [NAN]), equal_nan=True)
    expected = torch.tensor([NAN, 0.0, 0.0, 0.0, 1.0, 1.0, NAN])
    torch.testing.assert_close(certainty.reasoning, expected, equal_nan=True)
    assert certainty.token.tolist() == [[1.0, 0.5]] * 6 + [[0.5, 0.5]]


def test_a_reading_from_which_nothing_right_follows_is_labelled_wrong_and_its_conclusions_not_at_all(
    judged: Callable[..., Certainty],
) -> None:
    certainty = judged([0, 0], forked([7, 7], [False, True], 2))

    assert certainty.response.tolist() == [0.0, 0.0]
    assert certainty.reasoning.isnan().all()


def test_the_labels_of_forks_have_the_means_that_the_docstring_derives(judged: Callable[..., Certainty]) -> None:
    """By enumeration of the verdicts on three conclusions, each right with chance .6, from a reading that suffices."""
    chance, n = 0.6, 3
    verdicts = torch.tensor(list(product((0.0, 1.0), repeat=n)))
    weight = (verdicts * chance + (1 - verdicts) * (1 - chance)).prod(1).repeat_interleave(n) / n
    rollouts = forked([7] * verdicts.numel(), [False] * verdicts.numel(), n)

    certainty = judged(verdicts.flatten().tolist(), rollouts)

    def mean(label: Tensor) -> float:
        counted = label.isfinite()
        return float((weight * label)[counted].sum() / weight[counted].sum())

    assert mean(certainty.score) == pytest.approx(chance)
    assert mean(certainty.response) == pytest.approx(1 - (1 - chance) ** n)
    assert mean(certainty.reasoning) == pytest.approx(chance)
    siblings = verdicts.mean(1).repeat_interleave(n)
    naive = torch.where(siblings > 0, siblings, NAN)
    assert mean(naive) == pytest.approx(chance / (1 - (1 - chance) ** n)) != pytest.approx(chance)


def test_a_counterfactual_continuation_is_judged_by_its_siblings_and_judges_none(
    judged: Callable[..., Certainty],
) -> None:
    rollouts = forked([7, 7, 7], [False, True, True], 3)
    apart = replace(rollouts, counterfactual=torch.tensor([False, False, True]))

    certainty = judged([0, 0, 1], apart)

    assert certainty.response.tolist() == [0.0, 0.0, 1.0]
    assert certainty.reasoning.isnan().all()
