"""Several continuations of one reading: how they are sampled, and what is learned on which of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from tests.training.test_counterfactual import Fluent
from vlcal.advantages import ForkedAdvantages, UniformReweighter
from vlcal.objectives import NoCorrection
from vlcal.policy import EncodedPrompts, GroupEngine, Policy, RolloutEngine
from vlcal.text import Grammar
from vlcal.training import ForkedReadings, Sampling
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan
from vlcal.types import Experience, PromptBatch, Rollouts

Replay = Callable[..., RolloutEngine]
TAIL = "<reasoning>so</reasoning></think>\\boxed{7}"


class Continued(RolloutEngine):
    """Begins freely with written responses, and lets a real engine go on from a start."""

    def __init__(self, first: RolloutEngine) -> None:
        super().__init__()
        self.first = first
        self.asked: list[EncodedPrompts] = []

    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        self.asked.append(encoded)
        engine = self.first if starts is None else GroupEngine(40)
        return engine.sample(policy, encoded, group_size, seeds, starts)


@pytest.fixture
def collect(
    make_pipeline: Callable[..., Pipeline],
    frozen_policy: Policy,
    grammar: Grammar,
    scenes: Callable[[int], PromptBatch],
) -> Callable[[RolloutEngine], Experience]:
    def collected(engine: RolloutEngine) -> Experience:
        chunked = ChunkedPrompts(frozen_policy, scenes(1), grammar)
        plan = SamplingPlan(engine, 4, 5, ForkedReadings(2))
        pipeline = make_pipeline(advantages=ForkedAdvantages(), reweighter=UniformReweighter())
        return pipeline.collect(frozen_policy, chunked, plan, NoCorrection())

    return collected


def test_each_reading_is_continued_from_its_own_tokens_by_a_real_engine(
    collect: Callable[[RolloutEngine], Experience], replay: Replay, frozen_policy: Policy
) -> None:
    heads = [f"<think><vision>{seen}</vision>" for seen in ("123", "45")]
    engine = Continued(replay([head + TAIL for head in heads]))

    experience = collect(engine)

    rollouts = experience.assessment.rollouts
    assert engine.asked[0] is engine.asked[1]  # the prompts, encoded once
    assert rollouts.group_size == 4 and not rollouts.counterfactual.any()
    for row in range(4):
        begun = frozen_policy.response_tokens(heads[row // 2])
        assert rollouts.tokens[row][rollouts.shared[row]].tolist() == begun
        assert rollouts.forced[row].tolist() == (rollouts.shared[row] & bool(row % 2)).tolist()
    assert rollouts.texts[0] != rollouts.texts[1] and rollouts.texts[2] != rollouts.texts[3]


def test_a_reading_is_credited_once_and_every_conclusion_for_itself(
    collect: Callable[[RolloutEngine], Experience],
    replay: Replay,
    grammar: Grammar,
    scenes: Callable[[int], PromptBatch],
) -> None:
    target = scenes(1).targets[0]
    texts = [grammar.render(seen, "so", target, "clear", 7, 7) for seen in ("123", "45")]

    experience = collect(Fluent(replay, texts, grammar))

    rollouts, advantages = experience.assessment.rollouts, experience.advantages
    assert not advantages[rollouts.forced].any()
    assert not advantages.any()  # all four are right
    wrong = collect(Fluent(replay, [texts[0], texts[1].replace(f"{{{target}}}", "{none}")], grammar))
    rows, shared = wrong.advantages, wrong.assessment.rollouts.shared
    assert wrong.assessment.responses.correct.tolist() == [1, 1, 0, 0]
    torch.testing.assert_close(rows[0][shared[0]], torch.ones(int(shared[0].sum())))
    torch.testing.assert_close(rows[2][shared[2]], -torch.ones(int(shared[2].sum())))
    assert not rows[~shared].any()  # each conclusion is as good as its sibling


@pytest.mark.parametrize(
    ("text", "continued"),
    [
        ("12" + TAIL, False),
        ("<think><vision>12", False),
        ("<think><vision>12</vision>" + TAIL, True),
        ("<think><vision>12</vision>" + TAIL + "<vision>34</vision>", True),  # how it goes on decides nothing
    ],
)
def test_a_completion_is_continued_where_it_has_read_whatever_follows(
    collect: Callable[[RolloutEngine], Experience], replay: Replay, text: str, continued: bool
) -> None:
    rollouts = collect(Continued(replay([text, "<think><vision>3</vision>" + TAIL]))).assessment.rollouts

    assert rollouts.shared.any(1).tolist() == [continued, continued, True, True]
    assert rollouts.forced.any(1).tolist() == [False, continued, False, True]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: ForkedReadings(1), "`continuations` must be at least 2, since one has no sibling; got 1"),
        (lambda: Sampling(group_size=6, starts=ForkedReadings(4)), "multiple of `starts.continuations`.*got 6 for 4"),
        (lambda: Sampling(group_size=2, starts=ForkedReadings(2)), "at least twice as large; got 2 for 2"),
    ],
)
def test_groups_that_cannot_be_forked_are_refused(made: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()
