"""The distribution over levels is the policy's own, whatever the tokenizer makes of a level."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.probes.studies import MakeStudy, without_image
from vlcal.policy import Continuations, Policy
from vlcal.probes.levels import (
    Levels,
    Place,
    level_distribution,
    levels_at,
    stated_places,
    text_places,
)
from vlcal.probes.study import Study
from vlcal.text.grammar import CONFIDENCES
from vlcal.types import PromptBatch

Scenes = Callable[[int], PromptBatch]
Respond = Callable[..., list[str]]


def next_token(study: Study, row: int, tokens: tuple[int, ...]) -> Tensor:
    """Probabilities of the token behind some tokens of a response, from a pass of its own without any padding."""
    owner = study.prompt_index[row]
    alone = study.assessment.prompts.select([owner])
    encoded = study.policy.encode(alone, study.grammar)
    written = torch.tensor([[*tokens, study.policy.pad_token_id]])
    with torch.no_grad():
        hidden = study.policy.hidden(Continuations.of(encoded, written, torch.ones_like(written, dtype=torch.bool)))
        return study.policy.head(hidden[:, -1])[0].softmax(-1)


def test_levels_of_one_token_have_the_softmax_at_the_confidence_token(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts))  # two responses per prompt
    tokens = study.policy.level_tokens(study.grammar)

    for name, own in zip(CONFIDENCES, tokens, strict=True):
        places = stated_places(study)[name]
        found = level_distribution(study, name, places).exp()

        assert [place.row for place in places] == [0, 1, 2, 3]
        expected = torch.stack([next_token(study, place.row, place.prefix)[own] for place in places])
        torch.testing.assert_close(found, expected)


def test_a_level_of_two_tokens_and_the_one_it_starts_with_are_exact(
    make_study: MakeStudy, splitting: Policy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts, offsets=(0,)), splitting)
    one, zero = splitting.tokenizer.encode("10", add_special_tokens=False)

    places = stated_places(study)["visual_confidence"]
    found = level_distribution(study, "visual_confidence", places).double().exp()

    for row, place in enumerate(places):
        first = next_token(study, row, place.prefix).double()
        second = next_token(study, row, (*place.prefix, one)).double()
        digits = [splitting.tokenizer.encode(str(level), add_special_tokens=False)[0] for level in range(10)]
        expected = first[digits]
        expected[1] = first[one] * (1 - second[zero])
        torch.testing.assert_close(found[row, :10], expected, rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(found[row, 10], first[one] * second[zero], rtol=1e-5, atol=1e-9)


def test_the_rows_sum_to_the_probability_that_a_level_is_stated(
    make_study: MakeStudy, splitting: Policy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts, offsets=(0,)), splitting)
    places = stated_places(study)
    levels = levels_at(study, places)
    sums = torch.stack([level_distribution(study, name, places[name]).exp().sum(1) for name in CONFIDENCES])

    assert (sums > 0).all() and (sums < 1).all()
    torch.testing.assert_close(levels.mass, sums.mean(0))
    for probs in (levels.visual, levels.reasoning):
        torch.testing.assert_close(probs.sum(1), torch.ones(2))


def test_a_level_that_surely_goes_on_keeps_its_small_probability(
    make_study: MakeStudy, splitting: Policy, scenes: Scenes, respond: Respond
) -> None:
    one, zero = splitting.tokenizer.encode("10", add_special_tokens=False)
    leaning = copy.deepcopy(splitting)
    leaning.__dict__["backbone"] = leaning.adapted
    old = leaning.backbone.get_output_embeddings()
    head = nn.Linear(old.in_features, old.out_features)
    head.weight = nn.Parameter(old.weight.detach().clone())
    head.bias = nn.Parameter(torch.zeros(old.out_features).index_fill(0, torch.tensor([one, zero]), 30.0))
    leaning.backbone.set_output_embeddings(head.requires_grad_(False))
    prompts = scenes(1)
    study = make_study(prompts, respond(prompts, offsets=(0,)), leaning)

    (place,) = stated_places(study)["visual_confidence"]
    behind_zero = next_token(study, 0, (*place.prefix, one)).double()
    others = behind_zero.index_fill(0, torch.tensor([zero]), 0.0).sum()
    found = level_distribution(study, "visual_confidence", [place])[0, 1].double()

    torch.testing.assert_close(
        found, (next_token(study, 0, place.prefix)[one].double() * others).log(), rtol=1e-4, atol=0
    )


def test_a_response_without_both_confidences_has_no_distribution(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    texts = respond(prompts, offsets=(0,))
    texts[0] = texts[0].replace("<reasoning_confidence>10", "<reasoning_confidence>much")
    study = make_study(prompts, texts)

    for levels in (levels_at(study, stated_places(study)), levels_at(study, text_places(study, texts))):
        assert levels.visual[0].isnan().all() and levels.reasoning[0].isnan().all() and levels.mass[0].isnan()
        assert not levels.visual[1].isnan().any() and not levels.mass[1].isnan()


def test_nothing_stated_anywhere_gives_nothing(make_study: MakeStudy, scenes: Scenes) -> None:
    study = make_study(scenes(2), ["no idea", "neither"])

    levels = levels_at(study, stated_places(study))

    assert all(values.isnan().all() for values in (levels.visual, levels.reasoning, levels.mass))
    assert all(values.isnan().all() for values in levels.expected(study).values())


@pytest.mark.parametrize("name", ["frozen_policy", "splitting"])
def test_tokens_as_sampled_and_text_encoded_anew_are_the_same_places(
    request: pytest.FixtureRequest, make_study: MakeStudy, scenes: Scenes, respond: Respond, name: str
) -> None:
    prompts = scenes(2)
    texts = respond(prompts)
    study = make_study(prompts, texts, request.getfixturevalue(name))

    assert stated_places(study) == text_places(study, texts)


def test_prompts_with_and_without_images_share_a_batch(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = without_image(scenes(3), 1)
    texts = respond(prompts)
    together = make_study(prompts, texts)
    levels = levels_at(together, stated_places(together))

    for owner in range(3):
        alone = make_study(prompts.select([owner]), texts[2 * owner : 2 * owner + 2])
        expected = levels_at(alone, stated_places(alone))
        torch.testing.assert_close(levels.visual[2 * owner : 2 * owner + 2], expected.visual)
        torch.testing.assert_close(levels.reasoning[2 * owner : 2 * owner + 2], expected.reasoning)


def test_a_small_token_budget_changes_nothing(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = scenes(3)
    study = make_study(prompts, respond(prompts))
    passes: list[int] = []
    hook = study.policy.backbone.base_model.register_forward_hook(
        lambda module, args, output: passes.append(len(output.last_hidden_state))
    )
    try:
        whole = levels_at(study, stated_places(study))
        assert passes == [6, 6]
        passes.clear()
        cut = levels_at(replace(study, budget=1), stated_places(study))
    finally:
        hook.remove()

    assert passes == [1] * 12
    torch.testing.assert_close(whole.visual, cut.visual)
    torch.testing.assert_close(whole.mass, cut.mass)


def test_a_mark_that_stands_for_a_picture_in_a_text_is_no_picture(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(1)
    (text,) = respond(prompts, offsets=(0,))
    study = make_study(prompts, [text])

    levels = levels_at(study, text_places(study, [text.replace("clear", "<|image_pad|>")]))

    assert not levels.visual.isnan().any()


def test_expected_confidences_are_means_over_the_levels(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(1)
    study = make_study(prompts, respond(prompts, offsets=(0,)))
    visual, reasoning = torch.zeros(1, 11), torch.zeros(1, 11)
    visual[0, [2, 10]] = 0.5
    reasoning[0, 5] = 1.0

    expected = Levels(visual, reasoning, torch.ones(1)).expected(study)

    # Harmonic means with 0.5: of 0.2 it is 2/7, of 1 it is 2/3.
    assert expected["visual"].tolist() == pytest.approx([0.6])
    assert expected["reasoning"].tolist() == pytest.approx([0.5])
    assert expected["overall"].tolist() == pytest.approx([(2 / 7 + 2 / 3) / 2])


def test_an_empty_prefix_is_read_behind_the_prompt(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = scenes(1)
    study = make_study(prompts, respond(prompts, offsets=(0,)))

    found = level_distribution(study, "visual_confidence", [Place(0, ())]).exp()

    expected = next_token(study, 0, ())[study.policy.level_tokens(study.grammar)[0]]
    torch.testing.assert_close(found[0], expected)


def test_places_in_tokens_and_in_texts_are_the_same_where_the_prompt_has_opened_the_response(
    make_study: MakeStudy, frozen_policy: Policy, scenes: Scenes, respond: Respond
) -> None:
    processor = copy.deepcopy(frozen_policy.processor)
    prompt = "<|im_start|>assistant{% endif %}"
    processor.chat_template = processor.chat_template.replace(prompt, prompt.replace("{%", "<think>{%"))
    prompts = scenes(2)
    texts = respond(prompts, offsets=(0,))

    study = make_study(prompts, texts, Policy(frozen_policy.adapted, frozen_policy.backbone, processor))

    assert study.policy.opening == "<think>"
    assert study.assessment.responses.well_formed.all()
    assert stated_places(study) == text_places(study, texts)
    assert study.policy.tokenizer.decode(stated_places(study)["visual_confidence"][0].prefix[:1]) == "<vision>"
