"""An altered reading: what is altered, what is written anew behind it, and what is made of the fall."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch

from tests.probes.studies import MakeStudy
from vlcal.policy import GroupEngine
from vlcal.probes import AlteredReading, ReadingLikelihood
from vlcal.probes.altered import reading_likelihood, regenerated
from vlcal.text.alterations import OtherWord
from vlcal.types import PromptBatch

Scenes = Callable[[int], PromptBatch]
Respond = Callable[..., list[str]]


def test_one_digit_or_else_one_word_becomes_that_of_another_response() -> None:
    assert OtherWord()("fine 7", ["poor 3"], Random(0)) == "fine 3"
    assert OtherWord()("cat", ["a cat"], Random(0)) == "a"
    assert OtherWord()("7", ["7"], Random(0)) is None


def test_the_true_reading_has_the_likelihood_of_the_readout(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts))
    true, altered, ends = AlteredReading().altered(study)

    likelihood = reading_likelihood(study, true, [end for end, _ in ends])

    torch.testing.assert_close(likelihood, ReadingLikelihood()(study)["visual"], rtol=1e-3, atol=1e-6)
    assert all(one != other for one, other in zip(true, altered, strict=True))


def test_one_response_of_each_image_is_asked(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = scenes(2)
    _, *others = respond(prompts)

    likelihood = AlteredReading(readable=0.0)(make_study(prompts, ["", *others]))["likelihood true"]

    assert likelihood.isnan().tolist() == [True, False, False, True]  # the first that has a reading


def test_what_is_regenerated_begins_with_the_altered_reading(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts), engine=GroupEngine(max_new_tokens=60))
    _, altered, ends = AlteredReading().altered(study)
    starts = [text[:end] for text, (_, end) in zip(altered, ends, strict=True)]

    texts = regenerated(study, starts).assessment.rollouts.texts

    assert all(text.startswith(start) for text, start in zip(texts, starts, strict=True))


def test_the_falls_are_means_over_readable_images_alone() -> None:
    def row(*values: float) -> torch.Tensor:
        return torch.tensor(values)

    confidences = {
        **{f"{effect} image true": row(0.9, 0.8, 1.0) for effect in ("direct", "total")},
        **{f"{effect} image altered": row(0.3, 0.8, 0.0) for effect in ("direct", "total")},
        **{f"{effect} blank true": row(0.2, 0.2, 0.9) for effect in ("direct", "total")},
        **{f"{effect} blank altered": row(0.1, 0.2, 0.0) for effect in ("direct", "total")},
    }
    likelihoods = {"likelihood true": row(0.9, 0.8, 0.5), "likelihood altered": row(0.1, 0.0, 0.0)}
    columns = {**likelihoods, "perception_correct": row(1.0, float("nan"), 1.0), **confidences}

    summary = AlteredReading(readable=0.75).summarize(columns)

    assert summary["altered_fall"] == pytest.approx(0.3)
    assert summary["altered_fall_ceiling"] == pytest.approx(0.8)
    assert summary["altered_fall_on_blank"] == pytest.approx(0.05)
    assert summary["total"]["fall_less_blank"] == pytest.approx(0.25)
    assert summary["altered_auroc"] == pytest.approx(3.5 / 4)  # .9 beats .8 and .3, .8 ties .8 and beats .3
    assert summary["responses"] == {"asked": 3, "used": 2}


def test_a_real_engine_gives_every_figure_or_none(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = scenes(2)
    probe, study = AlteredReading(readable=0.0), make_study(prompts, respond(prompts))

    summary = probe.summarize(probe(study))

    assert 0 <= summary["altered_fall_ceiling"] <= 1
    assert summary["direct"]["fall"] is not None


def test_a_likelihood_above_1_is_refused() -> None:
    with pytest.raises(ValueError, match="`readable` must be a likelihood in"):
        AlteredReading(readable=1.5)
