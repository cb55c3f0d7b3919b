"""Images that say less: what is really shown, and what the curves are made of."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

import vlcal.perturbations
from tests.probes.studies import MakeStudy, without_image
from vlcal.perturbations import GaussianNoise, Mixture, NoPerturbation, PatchMask, Perturbation
from vlcal.policy import EncodedPrompts, Policy, RolloutEngine, TransformersEngine
from vlcal.probes import CorruptionCurve, RemovedImage
from vlcal.probes.study import Study
from vlcal.types import PromptBatch, Rollouts

Scenes = Callable[[int], PromptBatch]
Respond = Callable[..., list[str]]
Replay = Callable[..., RolloutEngine]
NAN = math.nan
PERTURBATIONS: dict[str, Callable[[], Perturbation]] = {
    **{
        name: getattr(vlcal.perturbations, name)
        for name in vlcal.perturbations.__all__
        if name not in {"Mixture", "NoPerturbation"} and not inspect.isabstract(getattr(vlcal.perturbations, name))
    },
    "Mixture": lambda: Mixture([GaussianNoise(), PatchMask()], [1.0, 1.0]),
}


class Witness(RolloutEngine):
    """Keeps what it is shown, and the seeds, before another engine answers."""

    def __init__(self, engine: RolloutEngine) -> None:
        super().__init__()
        self.engine = engine
        self.shown: list[EncodedPrompts] = []
        self.seeds: list[list[int]] = []

    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        self.shown.append(encoded)
        self.seeds.append(list(seeds))
        return self.engine.sample(policy, encoded, group_size, seeds, starts)


def test_a_removed_image_is_not_passed_at_all(
    make_study: MakeStudy, scenes: Scenes, respond: Respond, replay: Replay
) -> None:
    prompts = scenes(2)
    texts = respond(prompts, offsets=(0,))
    witness = Witness(replay(texts))
    study = make_study(prompts, texts, engine=witness)

    RemovedImage()(study)

    (shown,) = witness.shown
    assert shown.features is None and shown.image_counts == (0, 0)
    assert not torch.isin(shown.rows["input_ids"], torch.tensor(study.policy.placeholders)).any()
    assert shown.length < study.encoded.length
    # The question is still the same one.
    kept = shown.rows["input_ids"][0][shown.rows["attention_mask"][0].bool()]
    assert prompts.questions[0] in study.policy.tokenizer.decode(kept)


def test_before_and_after_are_those_of_both_responses(
    make_study: MakeStudy, scenes: Scenes, respond: Respond, replay: Replay
) -> None:
    prompts = scenes(4)
    seeing = respond(prompts, offsets=(0,), level=8)
    blind = respond(prompts, offsets=(1,), level=2)
    blind[3] = "no idea"
    study = make_study(prompts, seeing, engine=replay(blind))

    summary = RemovedImage().summarize(RemovedImage()(study))

    assert summary["accuracy"] == {"before": 1.0, "after": 0.0, "change": -1.0}
    assert summary["visual"] == pytest.approx({"before": 0.8, "after": 0.2, "change": -0.6})
    assert summary["parse_rate"] == {"before": 1.0, "after": 0.75, "change": -0.25}
    assert summary["responses"] == {"asked": 4, "used": 4}


def test_a_change_is_over_the_responses_that_state_both() -> None:
    one = torch.tensor([1.0])
    columns = {
        f"{when} {figure}": one.repeat(2) for when in ("before", "after") for figure in ("accuracy", "parse_rate")
    }
    for kind in ("overall", "visual", "reasoning"):
        columns |= {f"before {kind}": torch.tensor([0.2, 0.9]), f"after {kind}": torch.tensor([NAN, 0.8])}

    summary = RemovedImage().summarize(columns)

    assert summary["visual"] == pytest.approx({"before": 0.55, "after": 0.8, "change": -0.1}, abs=1e-6)


@pytest.mark.parametrize("probe", [RemovedImage(), CorruptionCurve(severities=(0, 1))])
def test_questions_without_an_image_are_left_out(
    make_study: MakeStudy, scenes: Scenes, respond: Respond, probe: RemovedImage | CorruptionCurve
) -> None:
    prompts = without_image(scenes(3), 1)
    study = make_study(prompts, respond(prompts))

    columns = probe(study)

    for name in columns:
        assert columns[name][2:4].isnan().all(), name
    assert probe.summarize(columns)["responses"] == {"asked": 6, "used": 4}


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_severity_nought_leaves_the_images_bit_identical(
    make_study: MakeStudy, scenes: Scenes, respond: Respond, name: str
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts, offsets=(0,)))
    curve = CorruptionCurve(PERTURBATIONS[name]())

    clean, spoiled = curve.perturbed(study, 0.0), curve.perturbed(study, 1.0)

    for (own,), (same,), (other,) in zip(prompts.images, clean.images, spoiled.images, strict=True):
        assert torch.equal(own, same) and not torch.equal(own, other)
    assert replace(clean, images=prompts.images) == prompts


def test_one_draw_serves_all_severities_and_each_image_has_its_own(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    grey = torch.full((3, 32, 96), 0.5)
    prompts = replace(prompts, images=((grey, grey), (grey,)))
    study = make_study(prompts, respond(prompts, offsets=(0,)))
    curve = CorruptionCurve(PatchMask(fill=0.0))

    masks = [curve.perturbed(study, severity).images for severity in (0.2, 0.6)]

    for weak, strong in zip(*([image for shown in images for image in shown] for images in masks), strict=True):
        assert ((weak == 0) <= (strong == 0)).all() and (weak == 0).sum() < (strong == 0).sum()
    (first, second), (third,) = masks[0]
    assert not torch.equal(first, second) and not torch.equal(first, third)


def test_a_draw_hangs_on_the_prompt_and_not_on_its_batch(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(3)
    texts = respond(prompts, offsets=(0,))
    curve = CorruptionCurve()

    together = curve.perturbed(make_study(prompts, texts), 0.5)
    alone = curve.perturbed(make_study(prompts.select([2]), texts[2:]), 0.5)

    assert torch.equal(together.images[2][0], alone.images[0][0])


def test_every_severity_is_answered_with_the_same_seed(
    make_study: MakeStudy, scenes: Scenes, respond: Respond, replay: Replay
) -> None:
    prompts = scenes(2)
    texts = respond(prompts, offsets=(0,))
    witness = Witness(replay(texts))

    CorruptionCurve(severities=(0, 0.5, 1))(make_study(prompts, texts, engine=witness))

    assert len(witness.seeds) == 3 and all(seeds == witness.seeds[0] for seeds in witness.seeds)


def curve_of(accuracy: list[float], visual: list[float]) -> dict[str, torch.Tensor]:
    columns = {}
    for severity, right, stated in zip((0.0, 0.5, 1.0), accuracy, visual, strict=True):
        figures = {"accuracy": right, "read_rate": NAN, "overall": 0.5, "visual": stated, "reasoning": NAN}
        columns |= {f"{severity} {name}": torch.tensor([value, NAN]) for name, value in figures.items()}
        columns |= {f"{severity} parse_rate": torch.tensor([1.0, 0.0])}
    return columns


def test_curves_are_means_and_agree_in_rank() -> None:
    probe = CorruptionCurve(severities=(0.0, 0.5, 1.0))

    summary = probe.summarize(curve_of([1.0, 0.5, 0.0], [0.8, 0.9, 0.25]))

    assert summary["severity"] == [0.0, 0.5, 1.0]
    assert summary["accuracy"] == [1.0, 0.5, 0.0]
    assert summary["visual"] == pytest.approx([0.8, 0.9, 0.25])
    assert summary["parse_rate"] == [0.5, 0.5, 0.5]
    assert summary["reasoning"] == summary["read_rate"] == [None, None, None]
    # Ranks 2 3 1 against 3 2 1: 1 - 6 (1 + 1 + 0) / (3 * 8).
    assert summary["rank_correlation_with_accuracy"] == {"overall": None, "visual": 0.5, "reasoning": None}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.parametrize(
    "severities", [(), (0.5,), (0.5, 0.2), (0.2, 0.2), (-0.1, 0.5), (0.5, 1.1), (0.0, NAN), (NAN, 0.5)]
)
def test_bad_severities_are_refused(severities: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"`severities` must be two or more rising numbers in \[0, 1\]; got \["):
        CorruptionCurve(severities=severities)


def test_a_perturbation_whose_strength_stays_is_refused() -> None:
    with pytest.raises(ValueError, match="`perturbation` must have a strength that can be set; .*NoPerturbation"):
        CorruptionCurve(NoPerturbation())


def test_the_perturbation_that_was_handed_in_keeps_its_strength(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts, own = scenes(1), GaussianNoise(0.3)
    study = make_study(prompts, respond(prompts, offsets=(0,)))

    CorruptionCurve(own, (0, 1))(study)

    assert own.strength == 0.3


def test_the_model_itself_answers_again(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = scenes(2)

    def study() -> Study:
        return make_study(prompts, respond(prompts), engine=TransformersEngine(max_new_tokens=4))

    for probe in (RemovedImage(), CorruptionCurve(severities=(0, 1))):
        first, again = probe(study()), probe(study())
        assert all(len(values) == 4 for values in first.values())
        assert all(torch.equal(values.nan_to_num(-1), again[name].nan_to_num(-1)) for name, values in first.items())
