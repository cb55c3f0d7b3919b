"""From prompts to experience."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from vlcal.certainty import KLEntropyCertainty, WindowLabeler
from vlcal.functional.vocabulary import vocabulary_kl
from vlcal.perturbations import GaussianNoise, NoPerturbation, PatchMask
from vlcal.pipeline import Pipeline, draw_seed, level_log_probs
from vlcal.policy import Policy, RolloutEngine, TransformersEngine
from vlcal.text import Grammar
from vlcal.types import Experience, PromptBatch, Responses

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


def judged(
    pipeline: Pipeline, policy: Policy, prompts: PromptBatch, engine: RolloutEngine, seed: int = 5
) -> Experience:
    encoded = policy.encode(prompts, pipeline.reader.grammar)
    return pipeline.credit(pipeline.judge(policy, prompts, encoded, engine, 2, seed))


def test_one_perturbation_draw_serves_a_whole_group(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts, noted = scenes(3), Noted()
    twins = [text for text in respond(prompts, offsets=(0,)) for _ in range(2)]

    evidence = judged(make_pipeline(perturbation=noted), frozen_policy, prompts, replay(twins)).evidence

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

    judged(make_pipeline(copies=2), frozen_policy, prompts, replay(respond(prompts)))
    hook.remove()

    assert seen == [3, 3, 3]


def test_a_step_can_be_replayed_alone(make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes) -> None:
    engine, prompts = TransformersEngine(8), scenes(2)

    first = judged(make_pipeline(), frozen_policy, prompts, engine)
    torch.rand(7)
    again = judged(make_pipeline(), frozen_policy, prompts, engine)
    other = judged(make_pipeline(), frozen_policy, prompts, engine, seed=6)

    assert first.rollouts.texts == again.rollouts.texts != other.rollouts.texts
    for record in ("evidence", "certainty", "responses"):
        for field in fields(getattr(first, record)):
            values = (getattr(getattr(experience, record), field.name) for experience in (first, again))
            one, two = values
            if isinstance(one, Tensor):
                torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(first.advantages, again.advantages)


def test_an_unperturbed_image_gives_no_kl(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(2)

    evidence = judged(
        make_pipeline(perturbation=NoPerturbation()), frozen_policy, prompts, replay(respond(prompts))
    ).evidence

    assert float(evidence.visual_kl.max()) < 1e-5


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
    experience = judged(pipeline, frozen_policy, prompts, replay(respond(prompts)))
    tokens, mask, vision = experience.rollouts.tokens, experience.rollouts.mask, experience.responses.spans.vision

    clean = frozen_policy.hidden(frozen_policy.encode(prompts, grammar), tokens, mask)
    copies = []
    for number in range(2):
        spoiled = frozen_policy.encode(pipeline.perturbed(frozen_policy, prompts, 5, number), grammar)
        copies.append(vocabulary_kl(clean, frozen_policy.hidden(spoiled, tokens, mask), frozen_policy.head, vision))

    assert not torch.equal(copies[0], copies[1])
    torch.testing.assert_close(experience.evidence.visual_kl, (copies[0] + copies[1]) / 2, atol=1e-5, rtol=1e-4)
    assert vision.any() and not experience.evidence.visual_kl[~vision].any()


def test_a_response_without_a_vision_part_has_no_certainty_and_harms_nobody(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(2)
    texts = respond(prompts)
    texts[1] = "I do not know."

    mixed = judged(make_pipeline(), frozen_policy, prompts, replay(texts))
    none = judged(make_pipeline(), frozen_policy, prompts, replay(["I do not know."] * 4))

    assert mixed.certainty.response.isnan().tolist() == [False, True, False, False]
    assert mixed.advantages.isfinite().all()
    assert mixed.rewards.terms["format"].tolist() == [1, 0, 1, 1]
    assert none.certainty.response.isnan().all()
    assert not none.evidence.visual_kl.any() and not none.advantages.any()


def test_looking_leaves_what_a_part_remembers_unchanged(
    make_pipeline: MakePipeline, frozen_policy: Policy, scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    pipeline = make_pipeline(certainty=KLEntropyCertainty(WindowLabeler(8)))
    prompts = scenes(2)
    engine = replay(respond(prompts))
    judged(pipeline, frozen_policy, prompts, engine)
    before = copy.deepcopy(pipeline.state_dict())

    with pipeline.looking():
        judged(pipeline, frozen_policy, prompts, engine)
        assert len(pipeline.state_dict()["certainty.labeler"]["scores"]) == 8

    assert len(before["certainty.labeler"]["scores"]) == 4
    assert torch.equal(pipeline.state_dict()["certainty.labeler"]["scores"], before["certainty.labeler"]["scores"])


def test_what_a_part_remembers_can_be_saved_and_loaded(make_pipeline: MakePipeline) -> None:
    remembering = make_pipeline(certainty=KLEntropyCertainty(WindowLabeler(8)))
    remembering.load_state_dict({"certainty.labeler": {"scores": torch.tensor([1.0, 2.0])}})
    forgetful = make_pipeline()

    assert remembering.state_dict()["certainty.labeler"]["scores"].tolist() == [1, 2]
    forgetful.load_state_dict(remembering.state_dict())
    assert forgetful.state_dict() == {}


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
    experience = judged(make_pipeline(), frozen_policy, prompts, replay([stated, absent]))
    grammar = make_pipeline().reader.grammar
    tokens, mask = experience.rollouts.tokens, experience.rollouts.mask
    with torch.no_grad():
        hidden = frozen_policy.hidden(frozen_policy.encode(prompts, grammar), tokens, mask)
    hidden = hidden.clone().requires_grad_(True)

    found = level_log_probs(frozen_policy, hidden, experience.responses, frozen_policy.level_tokens(grammar))
    (gradient,) = torch.autograd.grad(found.sum(), hidden)

    assert found.shape == (2, 2, 11)
    assert not found[1].any() and not gradient[1].any()
    levels = _positions(experience.responses)
    assert sorted({int(at) for at in gradient[0].abs().sum(-1).nonzero()}) == levels
    # The sampled level has the log-probability that the scoring pass gave it.
    for column, (level, at) in enumerate(zip((7, 10), levels, strict=True)):
        assert math.isclose(found[0, column, level].item(), experience.evidence.log_probs[0, at].item(), abs_tol=1e-4)


def _positions(responses: Responses) -> list[int]:
    spans = responses.spans
    return [int(span[0].nonzero()) for span in (spans.visual_confidence, spans.reasoning_confidence)]
