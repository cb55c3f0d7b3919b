"""Schedules move one knob each, in step with training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vlcal.advantages import AdvantageReweighter, UniformReweighter, VisualCertaintyReweighter
from vlcal.callbacks import (
    CounterfactualSchedule,
    KnobSchedule,
    MixtureSchedule,
    RewardWeightSchedule,
    ReweightingSchedule,
    SharpnessSchedule,
    StrengthSchedule,
)
from vlcal.objectives import DistilledCertainty
from vlcal.perturbations import Blank, GaussianNoise, Mixture, NoPerturbation, PatchMask, Perturbation
from vlcal.rewards import AccuracyReward
from vlcal.training import GroupReadings, Sampling
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader

Make = Callable[..., Any]


def pipeline(perturbation: Perturbation | None = None, reweighter: AdvantageReweighter | None = None) -> Pipeline:
    return Pipeline(
        ResponseReader(),
        {"accuracy": AccuracyReward()},
        perturbation=perturbation or PatchMask(),
        reweighter=reweighter or VisualCertaintyReweighter(),
    )


def test_a_knob_moves_in_a_straight_line_between_two_shares_of_training(build: Make, learner: Make, fit: Make) -> None:
    module = learner([build()], pipeline())
    rows = fit(module, StrengthSchedule(0.2, 0.8, begin=0.25, until=0.75), steps=8)
    logged = [row["train/schedule/perturbation_strength"] for row in rows]
    assert logged == pytest.approx([0.2, 0.2, 0.2, 0.35, 0.5, 0.65, 0.8, 0.8])
    assert module.pipeline.perturbation.strength == pytest.approx(0.8)


def test_the_whole_training_counts_not_the_epoch(build: Make, learner: Make, fit: Make) -> None:
    rows = fit(learner([build()], pipeline()), StrengthSchedule(0.0, 1.0), steps=2, max_epochs=2)
    assert [row["train/schedule/perturbation_strength"] for row in rows] == pytest.approx([0.0, 0.25, 0.5, 0.75])


def test_the_end_that_comes_first_counts(build: Make, learner: Make, fit: Make) -> None:
    rows = fit(learner([build()], pipeline()), StrengthSchedule(0.0, 1.0), steps=100, max_epochs=3, max_steps=4)
    assert [row["train/schedule/perturbation_strength"] for row in rows] == pytest.approx([0.0, 0.25, 0.5, 0.75])


def test_the_weights_of_a_mixture_move_together(build: Make, learner: Make, fit: Make) -> None:
    mixture = Mixture([PatchMask(), Blank()], [1.0, 1.0])
    rows = fit(learner([build()], pipeline(mixture)), MixtureSchedule([1, 0], [0, 2]), steps=2)
    assert [row["train/schedule/mixture_weight_0"] for row in rows] == pytest.approx([1.0, 0.5])
    assert [row["train/schedule/mixture_weight_1"] for row in rows] == pytest.approx([0.0, 1.0])
    assert mixture.weights == [0.5, 1.0]


def test_the_range_of_reweighting_moves(build: Make, learner: Make, fit: Make) -> None:
    module = learner([build()], pipeline())
    fit(module, ReweightingSchedule(0.0, 0.4), steps=2)
    assert module.pipeline.reweighter.strength == pytest.approx(0.2)


def test_the_weight_of_a_reward_moves(build: Make, learner: Make, fit: Make) -> None:
    module = learner([build()], pipeline())
    rows = fit(module, RewardWeightSchedule("accuracy", 4.0, 0.0), steps=4)
    assert [row["train/schedule/reward_weight_accuracy"] for row in rows] == pytest.approx([4.0, 3.0, 2.0, 1.0])
    assert module.pipeline.rewards["accuracy"].weight == 1.0


def test_the_sharpness_of_what_is_taught_moves(build: Make, learner: Make, fit: Make) -> None:
    module = learner([build()], pipeline())
    module.update.confidence = DistilledCertainty()
    rows = fit(module, SharpnessSchedule(0.0, 0.8), steps=4)
    assert [row["train/schedule/sharpness"] for row in rows] == pytest.approx([0.0, 0.2, 0.4, 0.6])


def test_the_share_of_counterfactual_groups_moves(build: Make, learner: Make, fit: Make) -> None:
    module = learner([build()], pipeline())
    module.sampling = Sampling(4, starts=GroupReadings())
    rows = fit(module, CounterfactualSchedule(1.0, 0.2), steps=4)
    assert [row["train/schedule/counterfactual_share"] for row in rows] == pytest.approx([1.0, 0.8, 0.6, 0.4])


def test_dropping_the_perturbation_leaves_its_schedule_without_effect(build: Make, learner: Make, fit: Make) -> None:
    (row,) = fit(learner([build()], pipeline(NoPerturbation())), StrengthSchedule(0.5, 0.8), steps=1)
    assert row["train/schedule/perturbation_strength"] == 0.0


@pytest.mark.parametrize(
    ("schedule", "parts", "message"),
    [
        (
            ReweightingSchedule(0.0, 0.1),
            {"reweighter": UniformReweighter()},
            "`pipeline.reweighter` must have a `strength` .* UniformReweighter has none: it leaves every advantage",
        ),
        (MixtureSchedule([1], [1]), {}, "`pipeline.perturbation` must be a Mixture .* got PatchMask"),
        (
            MixtureSchedule([1, 0], [0, 1]),
            {"perturbation": Mixture([GaussianNoise()], [1.0])},
            "`weights` must hold one number per member; got 2 for 1",
        ),
        (RewardWeightSchedule("brier", 0, 1), {}, "`name` must be one of the rewards .* accuracy; got 'brier'"),
        (SharpnessSchedule(0.0, 0.8), {}, "`update.confidence` must be a DistilledCertainty .* got SampledConfidence"),
        (CounterfactualSchedule(1.0, 0.2), {}, "`sampling.starts` must begin some completions .* got FreeStarts"),
        (StrengthSchedule(0.5, 1.5), {}, r"`strength` must lie in \[0, 1\].* got 1.5"),
    ],
)
def test_a_knob_that_is_not_there_is_refused_before_training(
    schedule: KnobSchedule, parts: dict[str, Any], message: str, build: Make, learner: Make, fit: Make
) -> None:
    module = learner([build()], pipeline(**parts))
    with pytest.raises(ValueError, match=message):
        fit(module, schedule, steps=1)
    assert module.seen == []


@pytest.mark.parametrize(("begin", "until"), [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.1), (0.9, 0.2)])
def test_shares_out_of_order_are_refused(begin: float, until: float) -> None:
    with pytest.raises(ValueError, match="0 <= begin < until <= 1"):
        StrengthSchedule(0.0, 1.0, begin, until)


def test_ends_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="`end` must hold as many numbers as `start`; got 1 and 2"):
        MixtureSchedule([1, 1], [1])


def test_a_training_without_end_has_no_shares(build: Make, learner: Make, fit: Make) -> None:
    with pytest.raises(ValueError, match="must say when training ends, since StrengthSchedule moves over shares"):
        fit(learner([build()], pipeline()), StrengthSchedule(0.0, 1.0), steps=1, max_epochs=-1)
