"""No image is no visual evidence: a response without any has no label, and changes nothing for the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import isabstract
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import vlcal.certainty
import vlcal.objectives
from tests.parts.conftest import attempted
from vlcal.advantages import (
    AdvantageReweighter,
    GroupCentered,
    GroupStandardized,
    UniformReweighter,
    VisualCertaintyReweighter,
)
from vlcal.certainty import (
    AgreementCertainty,
    BatchLabeler,
    CertaintyEstimator,
    ConstantCertainty,
    EntropyCertainty,
    ForkedCertainty,
    GroupLabeler,
    JointCertainty,
    KLCertainty,
    KLEntropyCertainty,
    LikelihoodCertainty,
    LogRatioCertainty,
    MinimumLikelihoodCertainty,
    PlattCertainty,
    SoftLabeler,
    WindowLabeler,
)
from vlcal.objectives import ClippedSurrogate, ConfidenceObjective, DistilledCertainty, ExpectedScore, SampledConfidence
from vlcal.rewards import VisualReward
from vlcal.scores import HarmonicMean
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
    "LikelihoodCertainty": LikelihoodCertainty,
    "MinimumLikelihoodCertainty": MinimumLikelihoodCertainty,
    "AgreementCertainty": AgreementCertainty,
    "ForkedCertainty": ForkedCertainty,
    "JointCertainty": JointCertainty,
    **{
        f"LogRatioCertainty {labeler.__name__}": lambda labeler=labeler: LogRatioCertainty(labeler())
        for labeler in LABELERS
    },
    **{
        f"PlattCertainty {labeler.__name__}": lambda labeler=labeler: PlattCertainty(KLEntropyCertainty(labeler()))
        for labeler in LABELERS
    },
}
OBJECTIVES: dict[str, ConfidenceObjective] = {
    "SampledConfidence": SampledConfidence(),
    "DistilledCertainty": DistilledCertainty(),
    "ExpectedScore": ExpectedScore(reasoning_weight=1.0),
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
        spans=Spans(vision, nowhere, ~vision, nowhere, nowhere),
    )
    log_probs = entropy.log()
    evidence = Evidence(
        log_probs, entropy, kl.masked_fill(rows[:, None], NAN), log_probs, chance.log().masked_fill(rows[:, None], NAN)
    )
    tokens = (2 * visual).long()
    rollouts = Rollouts(tokens, tokens >= 0, kl * 0, ("",) * len(rows), rows, GROUP, shared=vision)
    return evidence, rollouts, responses


def rewarded(responses: Responses, certainty: Certainty) -> Tensor:
    return VisualReward()(attempted(responses, certainty, GROUP))


def exported(module: ModuleType, family: type) -> set[str]:
    members = [getattr(module, name) for name in module.__all__]
    return {member.__name__ for member in members if issubclass(member, family) and not isabstract(member)}


def test_every_estimator_every_labeler_and_every_confidence_objective_is_tried() -> None:
    assert exported(vlcal.certainty, object) == {name for tried in ESTIMATORS for name in tried.split()}
    assert exported(vlcal.objectives, ConfidenceObjective) == set(OBJECTIVES)


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

        for field in ("response", "score", "token", "reasoning"):
            torch.testing.assert_close(
                getattr(found, field)[rows], getattr(expected, field), rtol=1e-5, atol=1e-6, equal_nan=True
            )
        assert torch.stack([found.response, found.score, found.reasoning])[:, ~rows].isnan().all()
        assert (found.token[~rows] == 0.5).all()
        rewards, apart = rewarded(every, found), rewarded(responses, expected)
        torch.testing.assert_close(rewards[rows], apart, rtol=1e-5, atol=1e-6)
        assert not rewards[~rows].any()
        for estimator in (GroupStandardized(), GroupCentered()):
            advantages, theirs = (
                estimator.of_responses(reward, GROUP)[:, None].expand(-1, TOKENS).clone() for reward in (rewards, apart)
            )
            assert not advantages[~rows].any()
            for reweighter in REWEIGHTERS:
                torch.testing.assert_close(
                    reweighter(advantages, found, every)[rows],
                    reweighter(theirs, expected, responses),
                    rtol=1e-3,
                    atol=1e-4,
                )


def taught(
    estimator: CertaintyEstimator, objective: ConfidenceObjective, unseen: list[bool]
) -> tuple[list[Tensor], list[int]]:
    """The gradient of the sum that each term of the loss is the mean of, and of how many; last the policy's term."""
    evidence, rollouts, responses = step(1, unseen)
    certainty = estimator(evidence, rollouts, responses)
    rows = torch.tensor(unseen).repeat_interleave(GROUP)
    rng = torch.Generator().manual_seed(0)
    logits = torch.empty(len(rows), 2, 11)
    logits[~rows] = torch.randn(int((~rows).sum()), 2, 11, generator=rng)
    logits[rows] = torch.randn(int(rows.sum()), 2, 11, generator=rng)
    stated, levels = logits.log_softmax(-1).requires_grad_(), torch.linspace(0.0, 1.0, 11)
    terms = objective(stated, levels, HarmonicMean()(levels[:, None], levels[None, :]), responses, certainty)
    counts = [*objective.counts(responses, certainty)]
    gradients = [
        torch.autograd.grad(count * term.loss, stated, retain_graph=True)[0]
        for count, term in zip(counts, terms, strict=True)
    ]
    rewards = responses.correct + rewarded(responses, certainty)
    plain = GroupStandardized()(rewards, rollouts).clone()
    advantages = VisualCertaintyReweighter(1.0)(plain, certainty, responses)
    written, surrogate = evidence.log_probs.clone().requires_grad_(), ClippedSurrogate()
    mask = objective.policy_mask(torch.ones_like(written, dtype=torch.bool), responses)
    moved = surrogate(written, evidence.log_probs, advantages, mask).loss * surrogate.count(mask)
    return [*gradients, torch.autograd.grad(moved, written)[0]], counts


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows_without_evidence_change_no_gradient_of_others(name: str, objective: str) -> None:
    unseen = [place % 7 == 0 for place in range(PROMPTS + 4)]
    assert unseen.count(False) == PROMPTS
    rows = ~torch.tensor(unseen).repeat_interleave(GROUP)

    expected, counted = taught(ESTIMATORS[name](), OBJECTIVES[objective], [False] * PROMPTS)
    found, counts = taught(ESTIMATORS[name](), OBJECTIVES[objective], unseen)

    assert counts[1:] == counted[1:]  # only the first term, on correctness, is about rows without evidence too
    for gradient, sought in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient[rows], sought, rtol=1e-3, atol=1e-4)
    assert not any(gradient[~rows].any() for gradient in found[1:-1])
    assert expected[-1].abs().max() > 0.1


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_step_without_any_evidence_has_no_label_and_leaves_no_trace(name: str) -> None:
    fresh, estimator = ESTIMATORS[name](), ESTIMATORS[name]()

    blind = [False] * PROMPTS
    evidence, rollouts, responses = step(1, blind)
    nothing = torch.full_like(evidence.visual_kl, NAN)
    unseen = replace(evidence, visual_kl=nothing, perturbed_log_probs=nothing)
    certainty = estimator(unseen, rollouts, responses)

    assert certainty.response.isnan().all() and (certainty.token == 0.5).all()
    later, expected = (one(evidence, rollouts, responses).response for one in (estimator, fresh))
    assert expected.isfinite().any()
    torch.testing.assert_close(later, expected, equal_nan=True)
