"""From prompts to experience."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import Tensor

from vlcal.advantages import UniformReweighter
from vlcal.certainty import KLEntropyCertainty, PlattCertainty, WindowLabeler
from vlcal.functional.vocabulary import vocabulary_kl
from vlcal.modules import ReinforcementModule
from vlcal.objectives import NoCorrection, SamplerCorrection
from vlcal.parts import Stateful
from vlcal.perturbations import GaussianNoise, NoPerturbation, PatchMask
from vlcal.policy import Continuations, Policy, PolicySpec, RolloutEngine, TransformersEngine
from vlcal.rewards import AccuracyReward, CalibrationReward, ZeroReward
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.learner import level_log_probs
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import SamplingPlan, draw_seed
from vlcal.types import Assessment, Experience, PromptBatch, Responses

Scenes = Callable[[int], PromptBatch]
Replay = Callable[..., RolloutEngine]
Respond = Callable[..., list[str]]
MakePipeline = Callable[..., Pipeline]


class Noted(PatchMask):
    """A patch mask that keeps what it made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Tensor] = []

    def __call__(self, image: Tensor, rng: torch.Generator, grid: tuple[int, int]) -> Tensor:
        self.made.append(super().__call__(image, rng, grid))
        return self.made[-1]


def collected(
    pipeline: Pipeline, policy: Policy, prompts: PromptBatch, engine: RolloutEngine, seed: int = 5
) -> Experience:
    chunked = ChunkedPrompts(policy, prompts, pipeline.reader.grammar)
    return pipeline.collect(policy, chunked, SamplingPlan(engine, 2, seed), NoCorrection())


def assessed(
    pipeline: Pipeline, policy: Policy, prompts: PromptBatch, engine: RolloutEngine, seed: int = 5
) -> Assessment:
    return collected(pipeline, policy, prompts, engine, seed).assessment


def test_one_perturbation_draw_serves_a_whole_group(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts, noted = scenes(3), Noted()
    twins = [text for text in respond(prompts, offsets=(0,)) for _ in range(2)]

    evidence = assessed(make_pipeline(perturbation=noted), frozen_policy, prompts, replay(twins)).evidence

    assert len(noted.made) == 3
    assert not torch.equal(noted.made[0] == 0.5, noted.made[1] == 0.5)
    torch.testing.assert_close(evidence.visual_kl[0::2], evidence.visual_kl[1::2])
    assert (evidence.visual_kl > 0).any(1).all()


def test_an_image_passes_the_vision_tower_once_and_once_more_per_perturbed_copy(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(3)
    seen: list[int] = []
    hook = frozen_policy.backbone.model.visual.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(len(kwargs["grid_thw"])), with_kwargs=True
    )

    assessed(make_pipeline(copies=2), frozen_policy, prompts, replay(respond(prompts)))
    hook.remove()

    assert seen == [3, 3, 3]


def test_a_step_can_be_replayed_alone(make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes) -> None:
    engine, prompts = TransformersEngine(8), scenes(2)

    first = collected(make_pipeline(), frozen_policy, prompts, engine)
    torch.rand(7)
    again = collected(make_pipeline(), frozen_policy, prompts, engine)
    other = assessed(make_pipeline(), frozen_policy, prompts, engine, seed=6)

    one, two = first.assessment, again.assessment
    assert one.rollouts.texts == two.rollouts.texts != other.rollouts.texts
    for record in ("evidence", "certainty", "responses"):
        for field in fields(getattr(one, record)):
            value, same = (getattr(getattr(assessment, record), field.name) for assessment in (one, two))
            if isinstance(value, Tensor):
                torch.testing.assert_close(value, same, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(first.advantages, again.advantages)


def test_advantages_follow_the_rewards_and_are_corrected_token_by_token(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(2)
    pipeline = make_pipeline(reweighter=UniformReweighter())
    chunked = ChunkedPrompts(frozen_policy, prompts, pipeline.reader.grammar)

    class Unlikely(SamplerCorrection):
        def __call__(self, trained: Tensor, sampled: Tensor, mask: Tensor) -> Tensor:
            return torch.where(torch.arange(trained.shape[1]) == 1, 0.25, 1.0).expand_as(trained)

    plan = SamplingPlan(replay(respond(prompts)), 2, 5)
    experience = pipeline.collect(frozen_policy, chunked, plan, Unlikely())

    # In each group the first completion is right and the second is not: half the distance over the deviation.
    side = torch.tensor([1.0, -1.0, 1.0, -1.0]) / 2**0.5
    torch.testing.assert_close(experience.advantages[:, 0], side, rtol=1e-4, atol=0)
    torch.testing.assert_close(experience.advantages[:, 1], side / 4, rtol=1e-4, atol=0)
    assert not experience.advantages[~experience.assessment.rollouts.mask].any()


def test_an_unperturbed_image_gives_no_kl_and_costs_no_pass(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts, passes = scenes(2), []
    tower = frozen_policy.backbone.model.visual.register_forward_hook(lambda *_: passes.append(1))

    evidence = assessed(
        make_pipeline(perturbation=NoPerturbation()), frozen_policy, prompts, replay(respond(prompts))
    ).evidence
    tower.remove()

    assert len(passes) == 1
    assert not evidence.visual_kl.any()


@torch.no_grad()
def test_the_kl_of_the_shortened_pass_is_that_of_a_full_one_and_an_average_over_copies(
    make_pipeline: MakePipeline,
    frozen_policy: Policy,
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    grammar: Grammar,
) -> None:
    prompts = scenes(2)
    pipeline = make_pipeline(perturbation=GaussianNoise(0.5), copies=2)
    assessment = assessed(pipeline, frozen_policy, prompts, replay(respond(prompts)))
    tokens, mask, vision = assessment.rollouts.tokens, assessment.rollouts.mask, assessment.responses.spans.vision

    clean = frozen_policy.hidden(Continuations.of(frozen_policy.encode(prompts, grammar), tokens, mask))
    copies = []
    for number in range(2):
        spoiled = frozen_policy.encode(pipeline.perturbed(frozen_policy, prompts, 5, number), grammar)
        copies.append(
            vocabulary_kl(
                clean, frozen_policy.hidden(Continuations.of(spoiled, tokens, mask)), frozen_policy.head, vision
            )
        )

    assert not torch.equal(copies[0], copies[1])
    torch.testing.assert_close(assessment.evidence.visual_kl, (copies[0] + copies[1]) / 2, atol=1e-5, rtol=1e-4)
    assert vision.any() and not assessment.evidence.visual_kl[~vision].any()


def test_a_response_without_a_vision_part_has_no_certainty_and_harms_nobody(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(2)
    texts = respond(prompts)
    texts[1] = "I do not know."

    mixed = collected(make_pipeline(), frozen_policy, prompts, replay(texts))
    none = collected(make_pipeline(), frozen_policy, prompts, replay(["I do not know."] * 4))

    assert mixed.assessment.certainty.response.isnan().tolist() == [False, True, False, False]
    assert mixed.advantages.isfinite().all()
    assert mixed.assessment.rewards.terms["format"].tolist() == [1, 0, 1, 1]
    assert none.assessment.certainty.response.isnan().all()
    assert not none.assessment.evidence.visual_kl.any() and not none.advantages.any()


def test_validation_leaves_what_a_part_remembers_unchanged(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    pipeline = make_pipeline(certainty=KLEntropyCertainty(WindowLabeler(8)))
    prompts = scenes(2)
    engine = replay(respond(prompts))

    def window() -> Tensor:
        scores: Tensor = pipeline.state_dict()["certainty"]["labeler"]["scores"]
        return scores

    with pipeline.preserve_state():
        assessed(pipeline, frozen_policy, prompts, engine)
        assert len(window()) == 4
    assert len(window()) == 0

    assessed(pipeline, frozen_policy, prompts, engine)
    before = window()
    with pipeline.preserve_state():
        assessed(pipeline, frozen_policy, prompts, engine)
        assert len(window()) == 8
    assert len(before) == 4 and torch.equal(window(), before)


def test_what_a_part_remembers_can_be_saved_and_loaded(make_pipeline: MakePipeline) -> None:
    remembering = make_pipeline(certainty=KLEntropyCertainty(WindowLabeler(8)))
    remembering.load_state_dict({"certainty": {"labeler": {"scores": torch.tensor([1.0, 2.0])}}})
    forgetful = make_pipeline()

    assert remembering.state_dict()["certainty"]["labeler"]["scores"].tolist() == [1, 2]
    forgetful.load_state_dict(remembering.state_dict())
    assert forgetful.state_dict() == {}


def test_the_memory_of_a_part_within_a_part_is_saved_and_a_foreign_one_is_passed_over(
    make_pipeline: MakePipeline,
) -> None:
    nested = make_pipeline(certainty=PlattCertainty(KLEntropyCertainty(WindowLabeler(8))))
    nested.load_state_dict(
        {"certainty": {"recent": torch.ones(3, 2), "estimator": {"labeler": {"scores": torch.ones(2)}}}}
    )
    plain = make_pipeline(certainty=KLEntropyCertainty(WindowLabeler(8)))
    plain.load_state_dict(nested.state_dict())

    saved = nested.state_dict()["certainty"]
    assert len(saved["recent"]) == 3 and saved["estimator"]["labeler"]["scores"].tolist() == [1, 1]
    assert len(plain.state_dict()["certainty"]["labeler"]["scores"]) == 0


def test_a_reward_that_declares_a_memory_is_saved_too(make_pipeline: MakePipeline) -> None:
    class Counting(ZeroReward, Stateful):
        calls = 0

        def state_dict(self) -> dict[str, int]:
            return {"calls": self.calls}

        def load_state_dict(self, state: Mapping[str, int]) -> None:
            self.calls = state["calls"]

    pipeline, other = make_pipeline(), make_pipeline()
    for each in (pipeline, other):
        each.rewards["counting"] = Counting()
    pipeline.load_state_dict({"rewards.counting": {"calls": 3}})
    other.load_state_dict(pipeline.state_dict())

    assert other.state_dict() == {"rewards.counting": {"calls": 3}}


def test_two_pipelines_built_with_defaults_share_no_part() -> None:
    first, second = (parts_of(Pipeline(ResponseReader(), {"calibration": CalibrationReward()})) for _ in range(2))

    assert {type(part).__name__ for part in first} >= {"PatchMask", "BatchLabeler", "HarmonicMean", "Brier"}
    assert [type(part) for part in first] == [type(part) for part in second]
    assert not {id(part) for part in first} & {id(part) for part in second}


def test_two_modules_built_with_defaults_share_no_part() -> None:
    def made() -> list[object]:
        spec, pipeline = PolicySpec("somewhere"), Pipeline(ResponseReader(), {"accuracy": AccuracyReward()})
        module = ReinforcementModule(spec, pipeline)
        return parts_of([module.sampling, module.update, module.optimization])

    first, second = made(), made()

    assert {type(part).__name__ for part in first} >= {"GroupEngine", "ClippedSurrogate", "TokenMean", "TorchAdamW"}
    assert not {id(part) for part in first} & {id(part) for part in second}


def parts_of(part: object) -> list[object]:
    """The part and all parts in it that can be changed."""
    if isinstance(part, list | tuple | dict):
        return [inner for item in (part.values() if isinstance(part, dict) else part) for inner in parts_of(item)]
    if not type(part).__module__.startswith("vlcal.") or is_dataclass(part):  # frozen, like Grammar
        return []
    return [part, *parts_of(vars(part))]


def test_no_copies_are_refused(make_pipeline: MakePipeline) -> None:
    with pytest.raises(ValueError, match="`copies` must be at least 1.* got 0"):
        make_pipeline(copies=0)


def test_seeds_differ_in_every_ingredient_and_fit_a_generator() -> None:
    seeds = {draw_seed(0, "a", "b"), draw_seed(1, "a", "b"), draw_seed(0, "ab"), draw_seed(0, "b", "a")}

    assert len(seeds) == 4
    assert draw_seed(0, "a", "b") == draw_seed(0, "a", "b")
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_absent_levels_reach_neither_the_level_log_probs_nor_the_gradient(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(1)
    stated, absent = respond(prompts)[0], "<confidence>"
    assessment = assessed(make_pipeline(), frozen_policy, prompts, replay([stated, absent]))
    grammar = make_pipeline().reader.grammar
    tokens, mask = assessment.rollouts.tokens, assessment.rollouts.mask
    with torch.no_grad():
        hidden = frozen_policy.hidden(Continuations.of(frozen_policy.encode(prompts, grammar), tokens, mask))
    hidden = hidden.clone().requires_grad_(True)

    found = level_log_probs(frozen_policy, hidden, assessment.responses, frozen_policy.level_tokens(grammar))
    (gradient,) = torch.autograd.grad(found.sum(), hidden)

    assert found.shape == (2, 2, 11)
    assert not found[1].any() and not gradient[1].any()
    levels = _positions(assessment.responses)
    assert sorted({int(at) for at in gradient[0].abs().sum(-1).nonzero()}) == levels
    # The sampled level has the log-probability that the scoring pass gave it.
    for column, (level, at) in enumerate(zip((7, 10), levels, strict=True)):
        assert math.isclose(found[0, column, level].item(), assessment.evidence.log_probs[0, at].item(), abs_tol=1e-4)


def _positions(responses: Responses) -> list[int]:
    spans = responses.spans
    return [int(span[0].nonzero()) for span in (spans.visual_confidence, spans.reasoning_confidence)]
