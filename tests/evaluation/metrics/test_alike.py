"""Draws over kinds of questions are draws over questions."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest

from vlcal.evaluation.metrics.alike import by_kind
from vlcal.evaluation.metrics.bootstrap import Clusters
from vlcal.evaluation.metrics.levels import Floats, Levels, Rows
from vlcal.evaluation.metrics.responses import AbsentPolicy, LeaveOut, WrongAndUnsure


def answered(questions: int, samples: int, absent: AbsentPolicy) -> tuple[Clusters, list[Rows]]:
    """Answers of two data sets, some without a confidence or an outcome: all of them, and those of the first set."""
    rng = np.random.default_rng(0)
    question = np.repeat(np.arange(questions), samples)
    dataset = np.where(question < questions // 3, "a", "b")
    confidence = rng.choice([0.0, 0.5, 1.0, math.nan], len(question))
    correct = rng.choice([0.0, 0.3, 1.0, math.nan], len(question))
    clusters = Clusters(question.astype(str), dataset)
    first = dataset == "a"
    return clusters, [
        Rows(confidence, correct, absent, clusters.of),
        Rows(confidence[first], correct[first], absent, clusters.of[first]),
    ]


def sums(levels: Levels) -> dict[str, Floats]:
    return {field.name: getattr(levels, field.name) for field in fields(levels)}


@pytest.mark.parametrize("absent", [WrongAndUnsure(), LeaveOut()])
@pytest.mark.parametrize("samples", [1, 2])
def test_kinds_counted_as_often_as_there_are_questions_of_them_give_the_sums_of_the_data(
    samples: int, absent: AbsentPolicy
) -> None:
    clusters, rows = answered(6000, samples, absent)

    kinds, some = by_kind(clusters, rows)

    counts = np.concatenate(kinds.alike).astype(np.float64)[None]
    assert counts.shape[1] <= len(clusters) // 8 and counts.sum() == len(clusters) == len(kinds)
    assert [int(alike.sum()) for alike in kinds.alike] == clusters.sizes.tolist() == [2000, 4000]
    for of_kinds, of_questions in zip(some, rows, strict=True):
        found, wanted = sums(of_kinds.levels(counts)), sums(of_questions.once())
        assert found.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("draw", ["weights", "signs"])
def test_sums_vary_over_kinds_as_they_do_over_questions(draw: str) -> None:
    clusters, rows = answered(400, 1, WrongAndUnsure())
    kinds, some = by_kind(clusters, rows)
    drawn = [
        np.concatenate([each.levels(weights).credit for weights in getattr(source, draw)(4000, seed=1)])
        for source, each in ((clusters, rows[0]), (kinds, some[0]))
    ]

    # Of 4,000 draws a mean has an error of 1.6 % of a standard deviation, that has one of 1.1 %.
    spread = drawn[0].std(0)
    assert (np.abs(drawn[0].mean(0) - drawn[1].mean(0)) < 0.1 * spread).all()
    np.testing.assert_allclose(drawn[1].std(0), spread, rtol=0.08)
    np.testing.assert_allclose(np.corrcoef(drawn[1].T), np.corrcoef(drawn[0].T), atol=0.1)


def test_each_draw_of_kinds_takes_as_many_questions_of_each_data_set_and_signs_add_up_to_nothing() -> None:
    kinds, _ = by_kind(*answered(600, 1, WrongAndUnsure()))
    first = len(kinds.alike[0])
    weights, signs = (np.concatenate(list(draw(50, seed=0))) for draw in (kinds.weights, kinds.signs))

    assert (weights[:, :first].sum(1) == 200).all() and (weights[:, first:].sum(1) == 400).all()
    np.testing.assert_allclose(signs[:, :first].sum(1), 0, atol=1e-9)
    np.testing.assert_allclose(signs[:, first:].sum(1), 0, atol=1e-9)


def test_questions_of_which_few_are_alike_are_drawn_one_by_one() -> None:
    confidence = np.random.default_rng(0).random(500)
    clusters = Clusters(np.arange(500), np.zeros(500))
    rows = [Rows(confidence, (confidence > 0.4).astype(float))]

    assert by_kind(clusters, rows) == (clusters, rows)


def test_a_hundred_thousand_responses_of_eleven_levels_are_two_dozen_kinds() -> None:
    rng = np.random.default_rng(0)
    confidence = np.round(rng.random(100_000) * 10) / 10
    correct = (rng.random(100_000) < confidence).astype(float)
    clusters = Clusters(np.arange(100_000), np.zeros(100_000))

    kinds, _ = by_kind(clusters, [Rows(confidence, correct)])

    assert len(kinds.alike[0]) == len(set(zip(confidence, correct, strict=True))) <= 22
