"""What is hidden cannot be read, everything else stays where it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.families.checkpoints import FAMILIES, write_checkpoint
from tests.probes.studies import MakeStudy, without_image
from vlcal.policy import Continuations, Policy, PolicySpec
from vlcal.policy.layouts.layout import Plain
from vlcal.policy.layouts.masked_prefix import MaskedPrefixLayout
from vlcal.probes import HiddenResponse
from vlcal.probes.levels import Place, level_distribution, stated_places
from vlcal.probes.study import Study
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Scenes = Callable[[int], PromptBatch]
Respond = Callable[..., list[str]]
KINDS = ("overall", "visual", "reasoning")
NAN = math.nan


def visual_levels(study: Study, place: Place) -> torch.Tensor:
    return level_distribution(study, "visual_confidence", [place])[0].exp()


@pytest.fixture
def place_and_study(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> tuple[Place, Study]:
    prompts = scenes(1)
    study = make_study(prompts, respond(prompts, offsets=(0,)))
    (place,) = stated_places(study)["visual_confidence"]
    return place, study


def test_other_hidden_tokens_change_nothing_and_other_visible_ones_do(place_and_study: tuple[Place, Study]) -> None:
    place, study = place_and_study
    cut = len(place.prefix) - 4
    hidden = replace(place, hidden=cut)
    others = replace(hidden, prefix=(*reversed(place.prefix[:cut]), *place.prefix[cut:]))
    visible = replace(hidden, prefix=(*place.prefix[:cut], place.prefix[0], *place.prefix[cut + 1 :]))

    expected = visual_levels(study, hidden)

    torch.testing.assert_close(visual_levels(study, others), expected, rtol=0, atol=1e-6)
    assert (visual_levels(study, visible) - expected).abs().max() > 1e-4
    assert (visual_levels(study, place) - expected).abs().max() > 1e-4


def test_hidden_tokens_are_kept_from_the_model_itself(place_and_study: tuple[Place, Study]) -> None:
    # Past the pad_token_id that takes their place: the mask alone must do.
    place, study = place_and_study
    tokens, cut = torch.tensor([[*place.prefix, study.policy.pad_token_id]]), len(place.prefix) - 4
    seen, whole = torch.arange(tokens.shape[1])[None] >= cut, torch.ones_like(tokens, dtype=torch.bool)
    others = torch.cat([tokens[:, :cut].flip(1), tokens[:, cut:]], 1)

    with torch.no_grad():
        states = [
            MaskedPrefixLayout(seen).hidden(study.policy.headless, Continuations.of(study.encoded, row, whole))[0, -1]
            for row in (tokens, others)
        ]

    torch.testing.assert_close(*states, rtol=0, atol=1e-5)


def test_what_is_hidden_still_takes_up_its_place(place_and_study: tuple[Place, Study]) -> None:
    # A model that closed the gap would see no difference between a short and a long hidden part.
    place, study = place_and_study
    cut = len(place.prefix) - 4
    longer = Place(0, (*place.prefix[:cut], *place.prefix), hidden=2 * cut)

    moved = visual_levels(study, replace(place, hidden=cut)) - visual_levels(study, longer)

    assert moved.abs().max() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_given_places_are_those_a_family_finds_itself(family: str, tmp_path: Path, scenes: Scenes) -> None:
    policy = PolicySpec(str(write_checkpoint(family, tmp_path)), dtype="float32").build()
    prompts = without_image(scenes(3), 1)
    encoded = policy.encode(prompts, Grammar(instructions=""))
    row = policy.tokenizer.encode("a short line of words to continue", add_special_tokens=False)
    tokens = torch.tensor([row, row, row])
    whole = torch.ones_like(tokens, dtype=torch.bool)

    with torch.no_grad():
        placed, found = (
            policy.hidden(Continuations.of(encoded, tokens, whole), layout)
            for layout in (MaskedPrefixLayout(whole), Plain())
        )

    torch.testing.assert_close(placed, found, rtol=1e-4, atol=1e-4)


def test_nothing_hidden_gives_what_the_plain_layout_gives(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = without_image(scenes(3), 1)
    study = make_study(prompts, respond(prompts))
    rollouts = study.assessment.rollouts
    continuations = Continuations.of(study.encoded, rollouts.tokens, rollouts.mask)

    with torch.no_grad():
        placed, found = (
            study.policy.hidden(continuations, layout)[rollouts.mask]
            for layout in (MaskedPrefixLayout(torch.ones_like(rollouts.mask)), Plain())
        )

    torch.testing.assert_close(placed, found, rtol=1e-4, atol=1e-4)


def test_without_the_response_confidences_depend_on_the_question_alone(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    # Two responses to each prompt that differ in a letter of the analysis, one token either way.
    prompts = scenes(2)
    texts = [text.replace("clear", letter) for text in respond(prompts, offsets=(0,)) for letter in "cr"]

    columns = HiddenResponse()(make_study(prompts, texts))

    for first in (0, 2):
        assert abs(columns["visual read"][first] - columns["visual read"][first + 1]) > 1e-6
        torch.testing.assert_close(
            columns["visual hidden"][first], columns["visual hidden"][first + 1], rtol=0, atol=1e-6
        )


def test_the_stated_visual_confidence_does_not_tell_what_was_hidden(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)

    low, high = (HiddenResponse()(make_study(prompts, respond(prompts, offsets=(0,), level=level))) for level in (1, 9))

    for kind in KINDS:
        torch.testing.assert_close(low[f"{kind} hidden"], high[f"{kind} hidden"], rtol=0, atol=1e-6)
    assert (low["reasoning read"] - high["reasoning read"]).abs().max() > 1e-4


def test_a_level_of_two_tokens_is_replaced_whole(
    make_study: MakeStudy, splitting: Policy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    one, ten = (
        HiddenResponse()(make_study(prompts, respond(prompts, offsets=(0,), level=level), splitting))
        for level in (1, 10)
    )

    torch.testing.assert_close(one["reasoning hidden"], ten["reasoning hidden"], rtol=0, atol=1e-6)


def test_confidences_outside_a_block_are_left_out(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = scenes(3)
    texts = respond(prompts, offsets=(0,))
    texts[1] = texts[1].replace("<confidence>", "")
    texts[2] = "no idea"
    study = make_study(prompts, texts)

    columns = HiddenResponse()(study)

    for name in ("visual read", "visual hidden", "overall read", "overall hidden", "mass read", "mass hidden"):
        assert columns[name].isnan().tolist() == [False, True, True], name
    summary = HiddenResponse().summarize(columns)
    assert summary["responses"] == {"asked": 3, "used": 1}


def test_a_tag_within_the_response_reveals_nothing(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    # Only what follows the last opening tag is the block; what stands between two of them is response.
    prompts = scenes(1)
    (text,) = respond(prompts, offsets=(0,))
    texts = [text.replace("<analysis>clear", f"<confidence><analysis>{word}") for word in ("c", "r")]

    one, other = (HiddenResponse()(make_study(prompts, [text]))["visual hidden"] for text in texts)

    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def columns_of(
    read: list[float], hidden: list[float], correct: list[float], **truths: list[float]
) -> dict[str, object]:
    columns = {f"{kind} read": torch.tensor(read) for kind in KINDS}
    columns |= {f"{kind} hidden": torch.tensor(hidden) for kind in KINDS}
    columns |= {f"{kind} truth": torch.tensor(truths.get(kind, [NAN] * len(read))) for kind in KINDS}
    columns |= {"mass read": torch.ones(len(read)), "mass hidden": torch.full((len(read),), 0.5)}
    return {**columns, "overall truth": torch.tensor(correct)}


def test_the_summary_is_worked_by_hand() -> None:
    columns = columns_of([0.9, 0.7, 0.2, NAN], [0.5, 0.5, 0.6, NAN], [1, 1, 0, 0], visual=[1, 0, 0, NAN])

    summary = HiddenResponse().summarize(columns)  # type: ignore[arg-type]

    # Right: +0.4 and +0.2; wrong: -0.4. The unread one counts nowhere.
    assert summary["overall"] == {
        "mean_read": 0.6,
        "mean_hidden": pytest.approx(0.533333, abs=1e-6),
        "auroc_read": 1.0,
        "auroc_hidden": 0.0,
        "change_on_right": pytest.approx(0.3, abs=1e-6),
        "change_on_wrong": pytest.approx(-0.4, abs=1e-6),
        "change_right_less_wrong": pytest.approx(0.7, abs=2e-6),
        "judged_by": "overall",
    }
    # Read right: the first, +0.4; read wrong: +0.2 and -0.4.
    assert summary["visual"]["judged_by"] == "visual"
    assert summary["visual"]["change_right_less_wrong"] == pytest.approx(0.5, abs=2e-6)
    # Nobody knows who reasoned right: judged by the answer.
    assert summary["reasoning"] == summary["overall"]
    assert summary["level_mass"] == {"mean_read": 1.0, "mean_hidden": 0.5}
    assert summary["responses"] == {"asked": 4, "used": 3}


def test_a_shift_of_all_confidences_leaves_the_conditional_form_at_zero() -> None:
    columns = columns_of([0.9, 0.7, 0.4], [0.8, 0.6, 0.3], [1, 0, 0])

    assert HiddenResponse().summarize(columns)["overall"]["change_right_less_wrong"] == 0  # type: ignore[arg-type]


def test_where_nothing_can_be_said_the_summary_is_none() -> None:
    summary = HiddenResponse().summarize(columns_of([NAN, NAN], [NAN, NAN], [1, 1]))  # type: ignore[arg-type]

    assert set(summary["overall"].values()) == {None, "overall"}
    assert summary["level_mass"]["mean_read"] == 1.0


def test_what_a_response_is_drawn_does_not_depend_on_the_other_prompts(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(3)
    together = HiddenResponse()(make_study(prompts, respond(prompts)))

    last = prompts.select([2])
    alone = HiddenResponse()(make_study(last, respond(last)))

    for name, values in alone.items():
        torch.testing.assert_close(values, together[name][4:], rtol=1e-5, atol=1e-6, equal_nan=True)
    assert not alone["reasoning hidden"].isnan().any()
