"""No image is no visual evidence: a response without any has no label, and changes nothing for the others."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isabstract

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import vlcal.certainty
from vlcal.advantages import (
    AdvantageReweighter,
    GroupCentered,
    GroupStandardized,
    UniformReweighter,
    VisualCertaintyReweighter,
)
from vlcal.certainty import (
    BatchLabeler,
    CertaintyEstimator,
    ConstantCertainty,
    EntropyCertainty,
    GroupLabeler,
    KLCertainty,
    KLEntropyCertainty,
    PlattCertainty,
    SoftLabeler,
    WindowLabeler,
)
from vlcal.rewards import VisualReward
from vlcal.types import Certainty, Evidence, Responses, Rollouts, Spans

NAN = float("nan")
GROUP, PROMPTS, TOKENS = 4, 20, 3  # 80 responses: enough for a regression to be fitted
LABELERS: list[Callable[[], SoftLabeler]] = [BatchLabeler, GroupLabeler, WindowLabeler]
ESTIMATORS: dict[str, Callable[[], CertaintyEstimator]] = {
    "ConstantCertainty": ConstantCertainty,
    **{
        f"{member.__name__} {labeler.__name__}": lambda member=member, labeler=labeler: member(labeler())
        for member in (KLEntropyCertainty, KLCertainty, EntropyCertainty)
        for labeler in LABELERS
    },
    **{
        f"PlattCertainty {labeler.__name__}": lambda labeler=labeler: PlattCertainty(KLEntropyCertainty(labeler()))
        for labeler in LABELERS
    },
}
REWEIGHTERS: list[AdvantageReweighter] = [VisualCertaintyReweighter(1.0), UniformReweighter()]

Step = tuple[Evidence, Rollouts, Responses]


def step(seed: int, unseen: list[bool]) -> Step:
    """Groups of responses, some to prompts without evidence; what is drawn for a seen prompt depends on it alone."""
    rng = torch.Generator().manual_seed(seed)
    seen = torch.rand(5, PROMPTS * GROUP, TOKENS, generator=rng)
    blind = torch.rand(5, sum(unseen) * GROUP, TOKENS, generator=rng)
    rows = torch.tensor(unseen).repeat_interleave(GROUP)
    drawn = torch.empty(5, len(rows), TOKENS)
    drawn[:, ~rows], drawn[:, rows] = seen, blind
    kl, entropy, chance, visual, _ = drawn
    vision = torch.tensor([True, True, False]).expand(len(rows), TOKENS)
    nowhere = torch.zeros_like(vision)
    correct = (chance[:, 0] < 0.5).float()
    responses = Responses(
        answers=("7",) * len(rows),
        well_formed=vision[:, 0],
        correct=correct,
        visual=visual[:, 0],
        reasoning=visual[:, 1],
        overall=visual[:, 0],
        perception_correct=torch.full_like(correct, NAN),
        reasoning_correct=torch.full_like(correct, NAN),
        spans=Spans(vision, nowhere, nowhere, nowhere, nowhere),
    )
    evidence = Evidence(torch.zeros_like(kl), entropy, kl.masked_fill(rows[:, None], NAN))
    tokens = torch.zeros(len(rows), TOKENS, dtype=torch.long)
    rollouts = Rollouts(tokens, tokens == 0, kl * 0, ("",) * len(rows), rows, GROUP)
    return evidence, rollouts, responses


def rewarded(responses: Responses, certainty: Certainty) -> Tensor:
    return VisualReward()(responses, certainty, GROUP)


def test_every_estimator_and_every_labeler_is_tried() -> None:
    members = [getattr(vlcal.certainty, name) for name in vlcal.certainty.__all__]
    concrete = {member.__name__ for member in members if not isabstract(member)}

    assert concrete == {name for tried in ESTIMATORS for name in tried.split()}


@pytest.mark.parametrize("name", ESTIMATORS)
@settings(max_examples=12)
@given(where=st.lists(st.integers(0, PROMPTS), min_size=1, max_size=5))
def test_rows_without_evidence_change_no_label_reward_or_advantage_of_others(name: str, where: list[int]) -> None:
    unseen = [False] * PROMPTS
    for place in sorted(where, reverse=True):
        unseen.insert(place, True)
    rows = ~torch.tensor(unseen).repeat_interleave(GROUP)
    alone, joined = ESTIMATORS[name](), ESTIMATORS[name]()

    for seed in (1, 2):  # the second step meets what the first left in a memory
        evidence, rollouts, responses = step(seed, [False] * PROMPTS)
        expected = alone(evidence, rollouts, responses)
        evidence, rollouts, every = step(seed, unseen)
        found = joined(evidence, rollouts, every)

        for field in ("response", "score", "token"):
            torch.testing.assert_close(getattr(found, field)[rows], getattr(expected, field), rtol=1e-5, atol=1e-6)
        assert found.response[~rows].isnan().all() and found.score[~rows].isnan().all()
        assert (found.token[~rows] == 0.5).all()
        rewards, apart = rewarded(every, found), rewarded(responses, expected)
        torch.testing.assert_close(rewards[rows], apart, rtol=1e-5, atol=1e-6)
        assert not rewards[~rows].any()
        for estimator in (GroupStandardized(), GroupCentered()):
            advantages, theirs = (
                estimator(reward, GROUP)[:, None].expand(-1, TOKENS).clone() for reward in (rewards, apart)
            )
            assert not advantages[~rows].any()
            for reweighter in REWEIGHTERS:
                torch.testing.assert_close(
                    reweighter(advantages, found, every)[rows],
                    reweighter(theirs, expected, responses),
                    rtol=1e-3,
                    atol=1e-4,
                )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_step_without_any_evidence_has_no_label_and_leaves_no_trace(name: str) -> None:
    fresh, estimator = ESTIMATORS[name](), ESTIMATORS[name]()

    blind = [False] * PROMPTS
    evidence, rollouts, responses = step(1, blind)
    unseen = Evidence(evidence.log_probs, evidence.entropy, torch.full_like(evidence.visual_kl, NAN))
    certainty = estimator(unseen, rollouts, responses)

    assert certainty.response.isnan().all() and (certainty.token == 0.5).all()
    torch.testing.assert_close(
        estimator(evidence, rollouts, responses).response, fresh(evidence, rollouts, responses).response
    )
