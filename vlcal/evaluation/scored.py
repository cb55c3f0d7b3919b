"""Outputs with their figures: each kind of confidence, its post-hoc baselines, and runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vlcal.evaluation.metrics import AbsentPolicy, Correlation, Judged, WrongAndUnsure, confidence_correlation
from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.outputs import Outputs
from vlcal.evaluation.posthoc import (
    Beta,
    Calibrator,
    Histogram,
    Isotonic,
    Platt,
    Temperature,
    WithCertainty,
    cross_fitted,
)
from vlcal.evaluation.table import Estimate, MetricTable, metric_table, paired_difference, shared_questions

Differences = Mapping[str, Mapping[str, Estimate]]

BASELINES: tuple[Calibrator, ...] = (Temperature(), Platt(), Beta(), Isotonic(), Histogram())
FOLDS = 5
BASELINE_DRAWS = 200  # at most: up to six tables more for every kind, beside which the stated one has all draws


@dataclass(frozen=True)
class Bootstrap:
    """How figures are estimated.

    Args:
        draws: Bootstrap draws of the questions; 0 leaves the intervals out.
        seed: Of the draws, and of the folds of the post-hoc baselines.
        absent: How responses without a confidence are scored.
    """

    draws: int = 1000
    seed: int = 0
    absent: AbsentPolicy = field(default_factory=WrongAndUnsure)


@dataclass(frozen=True)
class Scored:
    """One file's outputs with their figures.

    Args:
        outputs: What was scored.
        tables: Kind of confidence -> its figures.
        posthoc: Kind of confidence -> calibrator -> the figures after calibrating, cross-fitted.
        correlation: Of the visual and the reasoning confidence, where both are there.
    """

    outputs: Outputs
    tables: Mapping[str, MetricTable]
    posthoc: Mapping[str, Mapping[str, MetricTable]]
    correlation: Correlation | None


def scored(outputs: Outputs, how: Bootstrap = Bootstrap()) -> Scored:
    """Every figure of one file."""
    kinds = outputs.confidence
    pair = [kinds[name] for name in ("visual", "reasoning") if name in kinds]
    return Scored(
        outputs=outputs,
        tables={kind: metric_table(outputs.judged(kind), how.draws, how.seed, how.absent) for kind in kinds},
        posthoc={kind: posthoc_tables(outputs, kind, how) for kind in kinds},
        correlation=confidence_correlation(*pair) if len(pair) == 2 else None,
    )


def posthoc_tables(outputs: Outputs, kind: str, how: Bootstrap = Bootstrap()) -> dict[str, MetricTable]:
    """The figures after calibrating with each baseline, fitted to other questions than those it is applied to.

    Where the outputs hold the visual certainty, one more baseline takes it as a second feature.
    """
    judged = outputs.judged(kind)
    question = np.char.add(np.char.add(judged.dataset, "/"), judged.question)
    learners: list[tuple[Calibrator, tuple[Floats, ...]]] = [(baseline, ()) for baseline in BASELINES]
    if outputs.certainty is not None:
        learners.append((WithCertainty(), (outputs.certainty,)))
    tables = {}
    for learner, features in learners:
        fitted = cross_fitted(learner, judged.confidence, judged.correct, question, FOLDS, how.seed, *features)
        calibrated = replace(judged, confidence=fitted)
        tables[learner.kind] = metric_table(calibrated, min(how.draws, BASELINE_DRAWS), how.seed, how.absent)
    return tables


def side_by_side(outputs: Sequence[Outputs], how: Bootstrap = Bootstrap()) -> tuple[list[Scored], list[Differences]]:
    """Every file with its figures, and of each after the first the differences to the first."""
    first, *others = outputs
    return [scored(found, how) for found in outputs], [differences(first, other, how) for other in others]


def differences(first: Outputs, other: Outputs, how: Bootstrap = Bootstrap()) -> Differences:
    """Every figure of `other` minus that of `first`, of each kind for which both have exactly the same questions."""
    found = {}
    for kind in first.confidence:
        if kind in other.confidence and _same_questions(first.judged(kind), other.judged(kind)):
            found[kind] = paired_difference(other.judged(kind), first.judged(kind), how.draws, how.seed, how.absent)
    return found


def _same_questions(first: Judged, other: Judged) -> bool:
    return _questions(first) == _questions(other) == shared_questions(first, other)


def _questions(judged: Judged) -> int:
    return len(set(zip(judged.dataset.tolist(), judged.question.tolist(), strict=True)))
