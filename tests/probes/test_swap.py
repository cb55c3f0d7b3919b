"""Parts of other responses: what is put where, and how far a distribution moved."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
import torch

from tests.probes.studies import MakeStudy
from vlcal.probes import SwappedAnalysis, SwappedAnswer, SwappedPart, SwappedReasoning, SwappedVision
from vlcal.probes.levels import levels_at, text_places
from vlcal.probes.swap import jensen_shannon_distance
from vlcal.types import PromptBatch

Scenes = Callable[[int], PromptBatch]
Respond = Callable[..., list[str]]
NAN = math.nan
SWAPS = [SwappedVision(), SwappedReasoning(), SwappedAnswer(), SwappedAnalysis()]


def form(vision: str, reasoning: str = "so", answer: str = "1", analysis: str = "clear") -> str:
    return (
        f"<think><vision>{vision}</vision><reasoning>{reasoning}</reasoning></think>\\boxed{{{answer}}}"
        f"<analysis>{analysis}</analysis><confidence><vision_confidence>7</vision_confidence>"
        "<reasoning_confidence>9</reasoning_confidence></confidence>"
    )


def test_each_swap_puts_the_part_of_the_next_response_and_nothing_else(make_study: MakeStudy, scenes: Scenes) -> None:
    study = make_study(scenes(2), [form("12", "sum", "3", "faint"), form("45", "less", "9", "poor")])

    assert SwappedVision().swapped(study) == [form("45", "sum", "3", "faint"), form("12", "less", "9", "poor")]
    assert SwappedReasoning().swapped(study) == [form("12", "less", "3", "faint"), form("45", "sum", "9", "poor")]
    assert SwappedAnswer().swapped(study) == [form("12", "sum", "9", "faint"), form("45", "less", "3", "poor")]
    assert SwappedAnalysis().swapped(study) == [form("12", "sum", "3", "poor"), form("45", "less", "9", "faint")]


def test_a_donor_answers_another_prompt_and_says_something_else(make_study: MakeStudy, scenes: Scenes) -> None:
    # Two responses each to three prompts; the third prompt's say what the first one's say.
    study = make_study(scenes(3), [form(seen) for seen in ("a", "b", "c", "d", "a", "b")])

    donors = [None if text is None else text[15] for text in SwappedVision().swapped(study)]

    assert donors == ["c", "c", "a", "a", "b", "a"]


def test_a_response_whose_like_all_others_are_is_not_swapped(make_study: MakeStudy, scenes: Scenes) -> None:
    study = make_study(scenes(2), [form("12"), form("12")])

    for swap in SWAPS:
        assert swap.swapped(study) == [None, None]
        columns = swap(study)
        assert all(values.isnan().all() for values in columns.values())
        summary = swap.summarize(columns)
        assert summary["distance"] == {"visual": None, "reasoning": None}
        assert summary["responses"] == {"asked": 2, "used": 0}
        assert "NaN" not in json.dumps(summary, allow_nan=False)


def test_what_lacks_the_part_or_a_confidence_is_left_out_but_may_still_give(
    make_study: MakeStudy, scenes: Scenes
) -> None:
    mute = form("45").replace("<vision_confidence>7</vision_confidence>", "")
    partless = form("78").replace("<vision>78</vision>", "")
    study = make_study(scenes(3), [form("12"), mute, partless])

    assert SwappedVision().swapped(study) == [form("45"), None, None]
    assert SwappedAnalysis().swapped(make_study(scenes(1), [form("12").replace("<analysis>", "")])) == [None]
    assert SwappedVision()(study)["visual distance"].isnan().tolist() == [False, True, True]


def test_the_figures_are_those_of_both_texts(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = scenes(2)
    texts = respond(prompts, offsets=(0,))
    study = make_study(prompts, texts)
    swap = SwappedReasoning()

    columns = swap(study)

    before = levels_at(study, text_places(study, texts))
    after = levels_at(study, text_places(study, [text or "" for text in swap.swapped(study)]))
    torch.testing.assert_close(columns["visual distance"], jensen_shannon_distance(before.visual, after.visual))
    change = after.expected(study)["overall"] - before.expected(study)["overall"]
    torch.testing.assert_close(columns["change in overall"], change)
    assert (columns["visual distance"] > 0).all() and (columns["visual distance"] < 1).all()


def test_the_distance_is_worked_by_hand() -> None:
    some = torch.tensor([[1.0, 0.0], [0.3, 0.7], [0.5, 0.5], [NAN, NAN]])
    others = torch.tensor([[0.0, 1.0], [0.3, 0.7], [1.0, 0.0], [0.5, 0.5]])

    found = jensen_shannon_distance(some, others)

    # Mixture (3/4, 1/4): half of 0.5 log2(2/3) + 0.5 log2(2), and half of log2(4/3).
    third = math.sqrt(0.5 * (0.5 * math.log2(2 / 3) + 0.5) + 0.5 * math.log2(4 / 3))
    assert found[:3].tolist() == pytest.approx([1.0, 0.0, third], abs=1e-7)
    assert found[3].isnan()
    torch.testing.assert_close(jensen_shannon_distance(others, some), found, equal_nan=True)


def test_the_summary_counts_who_took_no_notice() -> None:
    columns = {
        "visual distance": torch.tensor([0.0, 0.1, 0.5, NAN]),
        "reasoning distance": torch.tensor([0.3, 0.3, 0.3, NAN]),
        "mass before": torch.tensor([1.0, 1.0, 1.0, NAN]),
        "mass after": torch.tensor([1.0, 0.5, 0.0, NAN]),
        **{f"change in {kind}": torch.tensor([-0.3, 0.0, 0.0, NAN]) for kind in ("overall", "visual", "reasoning")},
    }

    summary = SwappedVision().summarize(columns)

    assert summary["distance"] == {"visual": 0.2, "reasoning": 0.3}
    assert summary["share_within_0.1"] == {"visual": pytest.approx(2 / 3, abs=1e-6), "reasoning": 0.0}
    assert summary["change"]["overall"] == pytest.approx(-0.1, abs=1e-6)
    assert summary["level_mass"] == {"before": 1.0, "after": 0.5}
    assert summary["responses"] == {"asked": 4, "used": 3}


def test_a_swap_without_a_part_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        SwappedPart()  # type: ignore[abstract]


def test_a_divergence_of_a_tenth_is_a_distance_of_316_thousandths() -> None:
    distance = torch.tensor([0.1**0.5, NAN])
    columns = {f"{name} distance": distance for name in ("visual", "reasoning")}
    others = ("mass before", "mass after", *(f"change in {kind}" for kind in ("overall", "visual", "reasoning")))

    summary = SwappedVision().summarize({**columns, **dict.fromkeys(others, distance)})

    assert summary["distance"]["visual"] == pytest.approx(0.316228)
    assert summary["divergence"]["visual"] == pytest.approx(0.1)
