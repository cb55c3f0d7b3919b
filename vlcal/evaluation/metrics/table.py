"""The table: every metric of one kind of confidence with its interval, per data set and on average."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlcal.errors import UserError
from vlcal.evaluation.metrics.bootstrap import Clusters
from vlcal.evaluation.metrics.estimates import Contrast, Estimate, Group, difference_estimate, mean_estimate, sample
from vlcal.evaluation.metrics.metric import Metric
from vlcal.evaluation.metrics.registry import METRICS
from vlcal.evaluation.metrics.responses import AbsentPolicy, LeaveOut, ScoredResponses, WrongAndUnsure

__all__ = [
    "METRICS",
    "AbsentPolicy",
    "Contrast",
    "Counts",
    "Estimate",
    "LeaveOut",
    "Metric",
    "MetricTable",
    "WrongAndUnsure",
    "metric_estimates",
    "metric_table",
    "paired_difference",
    "shared_questions",
]


@dataclass(frozen=True)
class Counts:
    """The rows behind the metrics.

    Args:
        n: Responses.
        questions: Different questions among them.
        unparsed: Responses without a confidence, scored by the absent policy.
        unknown: Responses without a known outcome, left out of every metric that needs one.
    """

    n: int
    questions: int
    unparsed: int
    unknown: int


@dataclass(frozen=True)
class MetricTable:
    """Every metric of one kind of confidence.

    Args:
        estimates: Metric name -> estimate over all responses, in the order of `METRICS`.
        datasets: Data set -> the same over its responses, in the order of their names.
        macro: The mean over data sets, each weighing the same, of those where a metric is defined.
        macro_datasets: Metric name -> how many data sets that mean is of.
        counts: Responses, questions, unparsed and unknown, over all.
        dataset_counts: The same per data set.
        absent: How the unparsed were scored, as a sentence fragment.
    """

    estimates: Mapping[str, Estimate]
    datasets: Mapping[str, Mapping[str, Estimate]]
    macro: Mapping[str, Estimate]
    macro_datasets: Mapping[str, int]
    counts: Counts
    dataset_counts: Mapping[str, Counts]
    absent: str


def metric_table(
    responses: ScoredResponses, draws: int = 1000, seed: int = 0, absent: AbsentPolicy = WrongAndUnsure()
) -> MetricTable:
    """Every metric with its bootstrap interval, over all responses, per data set, and averaged over data sets.

    Args:
        responses: One row per response.
        draws: Bootstrap draws of the questions; 0 leaves the intervals NaN, as does a lone question.
        seed: Of the draws.
        absent: How responses without a confidence are scored.

    Raises:
        UserError: If `draws` is negative.
    """
    check_draws(draws)
    names = [str(name) for name in np.unique(responses.dataset)]
    members = [np.flatnonzero(responses.dataset == name) for name in names]
    clusters = Clusters(responses.question, responses.dataset)
    # With one data set, its metrics are the overall ones.
    parts = [(responses.where(rows), clusters.of[rows]) for rows in members] if len(names) > 1 else []
    groups = [Group(rows, question, absent) for rows, question in [(responses, clusters.of), *parts]]
    sampled = sample(groups, clusters, draws, seed)
    estimates = [{name: each.estimate(name) for name in METRICS} for each in sampled]
    counts = [_counts(responses, clusters.of), *(_counts(rows, question) for rows, question in parts)]
    last = slice(1 if parts else 0, 1 + len(parts) if names else 0)
    return MetricTable(
        estimates=estimates[0],
        datasets=dict(zip(names, estimates[last], strict=True)),
        macro={name: mean_estimate(sampled[last], name) for name in METRICS} if parts else estimates[0],
        macro_datasets={name: sum(not math.isnan(each.values[name]) for each in sampled[last]) for name in METRICS},
        counts=counts[0],
        dataset_counts=dict(zip(names, counts[last], strict=True)),
        absent=absent.description,
    )


def metric_estimates(
    responses: ScoredResponses,
    names: Collection[str],
    draws: int = 1000,
    seed: int = 0,
    absent: AbsentPolicy = WrongAndUnsure(),
) -> Mapping[str, Estimate]:
    """Some metrics with their intervals: what `metric_table` gives of them, without the others and the data sets.

    Raises:
        UserError: If `draws` is negative.
    """
    check_draws(draws)
    clusters = Clusters(responses.question, responses.dataset)
    (sampled,) = sample([Group(responses, clusters.of, absent, names)], clusters, draws, seed)
    return {name: sampled.estimate(name) for name in names}


def paired_difference(
    first: ScoredResponses,
    second: ScoredResponses,
    draws: int = 1000,
    seed: int = 0,
    absent: AbsentPolicy = WrongAndUnsure(),
) -> Mapping[str, Contrast]:
    """Every metric of `first` minus that of `second`, on the questions that both have, with its interval.

    A draw takes the same questions from both, so the difficulty of a question cancels out.

    Raises:
        UserError: If they share no question, or `draws` is negative.
    """
    check_draws(draws)
    rows = _shared_rows(first, second)
    if not len(rows[0]):
        raise UserError(
            "`second` must share questions with `first`, by data set and id, to be compared pairwise; got none in "
            "common. Compare their tables."
        )
    first, second = first.where(rows[0]), second.where(rows[1])
    clusters = Clusters(
        np.concatenate([first.question, second.question]), np.concatenate([first.dataset, second.dataset])
    )
    one, other = np.split(clusters.of, [len(first)])
    groups = [Group(first, one, absent), Group(second, other, absent)]
    minuend, subtrahend = sample(groups, clusters, draws, seed)
    return {name: difference_estimate(minuend, subtrahend, name) for name in METRICS}


def shared_questions(first: ScoredResponses, second: ScoredResponses) -> int:
    """How many questions both have: those of a paired difference."""
    shared = first.where(_shared_rows(first, second)[0])
    return len(Clusters(shared.question, shared.dataset))


def check_draws(draws: int) -> None:
    """Refuses a negative number of draws.

    Raises:
        UserError: If it is negative.
    """
    if draws < 0:
        raise UserError(f"`draws` must be at least 0, which leaves the intervals out; got {draws}. 1000 is usual.")


def _counts(responses: ScoredResponses, question: NDArray[np.intp]) -> Counts:
    return Counts(
        n=len(responses),
        questions=len(np.unique(question)),
        unparsed=int(np.isnan(responses.confidence).sum()),
        unknown=int(np.isnan(responses.correct).sum()),
    )


def _shared_rows(first: ScoredResponses, second: ScoredResponses) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    clusters = Clusters(
        np.concatenate([first.question, second.question]), np.concatenate([first.dataset, second.dataset])
    )
    one, other = np.split(clusters.of, [len(first)])
    return np.flatnonzero(np.isin(one, other)), np.flatnonzero(np.isin(other, one))
