"""The figures of one evaluation, by hand and against scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import brier_score_loss, roc_auc_score
from torch import Tensor

from vlcal.evaluation import Outcomes, known_auroc, summarize

NAN = math.nan


def outcomes(correct: list[float], overall: list[float], **columns: list[float]) -> Outcomes:
    """Rows of which the columns that are not given are unknown."""
    unknown = torch.full((len(correct),), NAN)
    names = ("visual", "reasoning", "read_right", "reasoned_right", "certainty", "clearness")
    given = {name: torch.tensor(columns[name]) if name in columns else unknown for name in names}
    formed = torch.tensor(columns.get("well_formed", [1.0] * len(correct)))
    return Outcomes(correct=torch.tensor(correct), overall=torch.tensor(overall), well_formed=formed, **given)


def test_figures_of_four_responses_are_those_worked_out_by_hand() -> None:
    found = summarize(outcomes([1.0, 0.0, 1.0, 0.0], [1.0, 0.8, 0.6, 0.0], well_formed=[1.0, 1.0, 1.0, 0.0]))

    assert found["n"] == 4
    assert found["accuracy"] == 0.5
    assert found["parse_rate"] == 0.75
    assert found["mean_overall"] == pytest.approx(0.6)
    # Each alone in its bin: gaps 0, .8, .4, 0.
    assert found["ece"] == pytest.approx(0.3)
    assert found["brier"] == pytest.approx((0 + 0.64 + 0.16 + 0) / 4)
    # Of the four pairs of right and wrong only (.6, .8) is the wrong way round.
    assert found["auroc"] == pytest.approx(0.75)


def test_figures_agree_with_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(0)
    stated = torch.randint(11, (200,), generator=rng) / 10
    correct = (torch.rand(200, generator=rng) < stated).float()

    found = summarize(outcomes(correct.tolist(), stated.tolist()))

    assert found["auroc"] == pytest.approx(roc_auc_score(correct, stated), abs=1e-6)
    assert found["brier"] == pytest.approx(brier_score_loss(correct, stated), abs=1e-6)


def test_an_absent_confidence_counts_as_wrong_and_unsure() -> None:
    absent = summarize(outcomes([1.0, 1.0, 0.0], [0.9, NAN, 0.2]))
    spelled_out = summarize(outcomes([1.0, 0.0, 0.0], [0.9, 0.5, 0.2]))

    for figure in ("ece", "auroc", "brier"):
        assert absent[figure] == spelled_out[figure]
    assert absent["accuracy"] == pytest.approx(2 / 3)
    assert absent["mean_overall"] == pytest.approx(0.55)


def test_each_confidence_is_held_against_its_own_truth() -> None:
    found = summarize(
        outcomes(
            [1.0, 1.0],
            [0.5, 0.5],
            visual=[1.0, 0.0],
            reasoning=[0.0, 1.0],
            read_right=[1.0, 0.0],
            reasoned_right=[1.0, 0.0],
            certainty=[3.0, -4.0],
            clearness=[0.1, 0.9],
        )
    )

    assert (found["visual_ece"], found["visual_brier"], found["visual_auroc"]) == (0, 0, 1)
    assert (found["reasoning_ece"], found["reasoning_brier"], found["reasoning_auroc"]) == (1, 1, 0)
    assert (found["certainty_auroc"], found["clearness_auroc"]) == (1, 0)
    assert (found["read_rate"], found["reasoning_rate"]) == (0.5, 0.5)


def test_rows_whose_truth_nobody_knows_are_left_out_of_that_figure_only() -> None:
    found = summarize(outcomes([1.0, 0.0], [1.0, 1.0], visual=[0.2, 1.0], read_right=[NAN, 1.0]))

    assert found["visual_brier"] == 0
    assert math.isnan(found["visual_auroc"])
    assert math.isnan(found["reasoning_ece"])
    assert found["brier"] == 0.5


def test_the_order_of_responses_changes_nothing() -> None:
    rng = torch.Generator().manual_seed(1)
    columns = {
        name: torch.rand(50, generator=rng).round(decimals=1)
        for name in ("overall", "visual", "reasoning", "certainty", "clearness")
    }
    truths = {
        name: torch.randint(2, (50,), generator=rng).float()
        for name in ("correct", "read_right", "reasoned_right", "well_formed")
    }
    rows = Outcomes(**columns, **truths)
    order = torch.randperm(50, generator=rng)
    shuffled = Outcomes(**{name: value[order] for name, value in {**columns, **truths}.items()})

    assert summarize(shuffled) == pytest.approx(summarize(rows))


def test_a_response_without_a_score_is_the_least_sure_one() -> None:
    assert known_auroc(torch.tensor([2.0, NAN, -5.0]), torch.tensor([1.0, 0.0, 1.0])) == 1
    assert math.isnan(known_auroc(torch.tensor([NAN, NAN]), torch.tensor([1.0, 0.0])))
    assert math.isnan(known_auroc(torch.tensor([1.0, 2.0]), torch.tensor([NAN, NAN])))


@pytest.mark.parametrize("bad", [[], [NAN, NAN]])
def test_nothing_known_gives_nothing_known(bad: list[float]) -> None:
    rows = outcomes(bad, [0.5] * len(bad), well_formed=[0.0] * len(bad))

    assert math.isnan(summarize(rows)["ece"]) and math.isnan(summarize(rows)["auroc"])


def test_batches_join_in_order() -> None:
    first, second = outcomes([1.0], [0.1]), outcomes([0.0, 1.0], [0.2, 0.3])

    joined = Outcomes.join([first, second])

    assert len(joined) == 3
    assert joined.overall.tolist() == torch.tensor([0.1, 0.2, 0.3]).tolist()


def test_partly_right_answers_count_in_calibration_as_far_as_they_are_right() -> None:
    rows = outcomes([0.5, 0.0], [0.5, 0.0])
    halves: Tensor = rows.correct

    assert summarize(rows)["ece"] == 0
    assert summarize(replace(rows, correct=halves * 0))["ece"] == pytest.approx(0.25)
