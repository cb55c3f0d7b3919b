"""Completions that are made to begin with a reading the policy did not choose."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from vlcal.objectives import NoCorrection
from vlcal.policy import EncodedPrompts, GroupEngine, Policy, RolloutEngine
from vlcal.text import Grammar, parse
from vlcal.text.alterations import OtherWord
from vlcal.training import (
    AlteredReadings,
    Counterfactuals,
    FreeStarts,
    GroupReadings,
    PerturbedReadings,
    Sampling,
    Starts,
)
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.counterfactual import own_and_counterfactual
from vlcal.training.learner import Learner, Update
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan
from vlcal.types import Experience, PromptBatch, Rollouts

Scenes = Callable[[int], PromptBatch]


class Fluent(RolloutEngine):
    """Begins freely with a written response, and continues a start with the rest of one."""

    def __init__(self, replay: Callable[..., RolloutEngine], texts: Sequence[str], grammar: Grammar) -> None:
        super().__init__()
        self.replay = replay
        self.texts = texts
        self.grammar = grammar
        self.asked: list[tuple[EncodedPrompts, int]] = []

    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        self.asked.append((encoded, group_size))
        count = len(encoded) * group_size
        begun = [policy.tokenizer.decode(start) for start in starts or [[]] * count]
        texts = [
            start + text[text.index("<reasoning>") :] if start else text
            for start, text in zip(begun, (self.texts * count)[:count], strict=True)
        ]
        rollouts = self.replay(texts).sample(policy, encoded, group_size, seeds)
        forced = torch.zeros_like(rollouts.mask)
        for row, start in enumerate(starts or []):
            forced[row, : len(start)] = True
        return replace(rollouts, forced=forced)


@pytest.fixture
def engine(replay: Callable[..., RolloutEngine], grammar: Grammar) -> Fluent:
    texts = [grammar.render(seen, "so", "7", "clear", 7, 7) for seen in ("12", "34", "12")]
    return Fluent(replay, texts, grammar)


@pytest.fixture
def collect(
    make_pipeline: Callable[..., Pipeline], frozen_policy: Policy, grammar: Grammar, scenes: Scenes, engine: Fluent
) -> Callable[..., Experience]:
    def collected(starts: Starts, size: int = 4) -> Experience:
        chunked = ChunkedPrompts(frozen_policy, scenes(2), grammar)
        plan = SamplingPlan(engine, size, 5, starts)
        return make_pipeline().collect(frozen_policy, chunked, plan, NoCorrection())

    return collected


def reading(text: str) -> str:
    span = parse(text, Grammar()).spans["vision"]
    assert span is not None
    return text[slice(*span)]


@pytest.mark.parametrize("source", [PerturbedReadings(), GroupReadings(), AlteredReadings()])
def test_the_last_member_of_each_group_begins_with_the_reading(
    collect: Callable[..., Experience], source: Counterfactuals
) -> None:
    rollouts = collect(source).assessment.rollouts

    assert rollouts.counterfactual.tolist() == [False, False, False, True] * 2
    assert torch.equal(rollouts.forced.any(1), rollouts.counterfactual)
    for text in rollouts.texts[3::4]:
        assert text.startswith(f"<think><vision>{reading(text)}</vision><reasoning>so")
        known = reading(text) in ("12", "34")
        assert known is not isinstance(source, AlteredReadings)


def test_a_share_of_the_groups_begins_with_a_reading_and_the_others_start_freely(
    collect: Callable[..., Experience],
) -> None:
    """The last member of a group stays apart all the same, so that a share of 0 changes no advantage."""
    none = collect(GroupReadings(share=0.0))
    rollouts = none.assessment.rollouts
    assert rollouts.counterfactual.tolist() == [False, False, False, True] * 2
    assert not rollouts.forced.any()
    torch.testing.assert_close(none.advantages, collect(GroupReadings()).advantages)


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`share` must be in \[0, 1\]; got 1.5"):
        GroupReadings(share=1.5)


def test_forced_members_change_no_advantage_of_the_others_and_have_none(collect: Callable[..., Experience]) -> None:
    with_forced, without = collect(GroupReadings()), collect(FreeStarts(), size=3)

    apart = with_forced.assessment.rollouts.counterfactual
    assert not with_forced.advantages[apart].any()
    torch.testing.assert_close(with_forced.advantages[~apart], without.advantages)
    assert with_forced.assessment.rollouts.texts[:3] == without.assessment.rollouts.texts[:3]


def test_the_policy_objective_leaves_forced_members_out_and_the_confidences_learn_from_them(
    collect: Callable[..., Experience], frozen_policy: Policy, make_pipeline: Callable[..., Pipeline]
) -> None:
    experience = collect(AlteredReadings())
    learner = Learner(frozen_policy, make_pipeline().reader, Update(), 1.0)

    mask = learner._policy_mask(experience)

    apart = experience.assessment.rollouts.counterfactual
    assert not mask[apart].any() and mask[~apart].any(1).all()
    said = experience.assessment.responses
    assert not said.visual[apart].isnan().any()
    assert said.spans.visual_confidence[apart].any(1).all()
    assert said.perception_correct[apart].isfinite().all()  # the oracle judges the forced reading


def test_what_is_logged_of_the_policy_leaves_forced_members_out(collect: Callable[..., Experience]) -> None:
    experience = collect(AlteredReadings())

    own, counterfactual = own_and_counterfactual(experience.assessment)

    assert (own.rollouts.group_size, len(own), len(own.prompts)) == (3, 6, 2)
    assert (counterfactual.rollouts.group_size, len(counterfactual), len(counterfactual.prompts)) == (1, 2, 2)
    assert not own.rollouts.counterfactual.any() and counterfactual.rollouts.counterfactual.all()
    assert counterfactual.prompts.ids == own.prompts.ids


def test_readings_of_the_perturbed_image_are_sampled_from_other_images(
    collect: Callable[..., Experience], engine: Fluent
) -> None:
    collect(PerturbedReadings(2), size=5)

    (clean, own), (perturbed, members), (again, begun) = engine.asked
    assert (own, members, begun) == (3, 2, 2)
    assert clean.features is not None and perturbed.features is not None
    assert clean is again
    assert not torch.equal(clean.features.pooler_output[0], perturbed.features.pooler_output[0])


def test_the_own_completions_of_a_real_engine_stay_as_they_are(
    make_pipeline: Callable[..., Pipeline], frozen_policy: Policy, grammar: Grammar, scenes: Scenes
) -> None:
    """An untrained policy writes no reading: the other member starts freely, and stays apart all the same."""
    chunked = ChunkedPrompts(frozen_policy, scenes(2), grammar)
    plans = [SamplingPlan(GroupEngine(6), 3, 5, PerturbedReadings()), SamplingPlan(GroupEngine(6), 2, 5)]

    some, none = (make_pipeline().assess(frozen_policy, chunked, plan).rollouts for plan in plans)

    assert [some.texts[row] for row in (0, 1, 3, 4)] == list(none.texts)
    assert some.counterfactual.tolist() == [False, False, True] * 2
    assert not some.forced.any()


def test_another_word_changes_one_place_and_is_drawn() -> None:
    others = ["0123456789 and"]
    changed = {OtherWord()("7 and 2", others, random.Random(seed)) for seed in range(200)}

    assert len(changed) == 18  # nine other digits at each of two places
    assert all(sum(one != other for one, other in zip(text or "", "7 and 2", strict=True)) == 1 for text in changed)


def test_validation_starts_every_completion_freely() -> None:
    sampling = Sampling(group_size=4, starts=GroupReadings())

    assert sampling.training_plan(0).starts is sampling.starts
    assert isinstance(sampling.validation_plan().starts, FreeStarts)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: GroupReadings(0), "`members` must be at least 1; got 0"),
        (
            lambda: Sampling(training=GroupEngine(8, top_p=0.95)),
            "`training.top_p` must be 1, .*; got 0.95. Set it to 1",
        ),
        (
            lambda: Sampling(group_size=2, starts=GroupReadings()),
            "`starts.members` must leave at least 2 of `group_size` to the policy; got 1 of 2",
        ),
    ],
)
def test_impossible_settings_are_refused(made: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()
