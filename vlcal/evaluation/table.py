"""The table: every metric of one kind of confidence with its interval, per data set and on average."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.bootstrap import Clusters, bootstrap, percentile_interval
from vlcal.evaluation.metrics import METRICS, AbsentPolicy, Judged, LeaveOut, Metric, WrongAndUnsure
from vlcal.evaluation.metrics.levels import Floats, Rows

__all__ = [
    "METRICS",
    "AbsentPolicy",
    "Counts",
    "Estimate",
    "LeaveOut",
    "Metric",
    "MetricTable",
    "WrongAndUnsure",
    "metric_table",
    "paired_difference",
    "shared_questions",
]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; NaN where undefined.

    Args:
        value: The figure of the data as they are.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Counts:
    """What the figures are made of.

    Args:
        n: Responses.
        questions: Different questions among them.
        unparsed: Responses without a confidence; counted and shown, and scored by the absent policy.
        unknown: Responses whose outcome nobody knows; in no figure that needs one.
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
        absent: How the unparsed were scored, in words.
    """

    estimates: Mapping[str, Estimate]
    datasets: Mapping[str, Mapping[str, Estimate]]
    macro: Mapping[str, Estimate]
    macro_datasets: Mapping[str, int]
    counts: Counts
    dataset_counts: Mapping[str, Counts]
    absent: str


def metric_table(
    judged: Judged, draws: int = 1000, seed: int = 0, absent: AbsentPolicy = WrongAndUnsure()
) -> MetricTable:
    """Every metric with its bootstrap interval, over all responses, per data set, and averaged over data sets.

    Args:
        judged: The responses.
        draws: Bootstrap draws of the questions; 0 leaves the intervals NaN, as does a lone question.
        seed: Of the draws.
        absent: How responses without a confidence are scored.

    Raises:
        ValueError: If `draws` is negative.
    """
    check_draws(draws)
    names = [str(name) for name in np.unique(judged.dataset)]
    members = {name: np.flatnonzero(judged.dataset == name) for name in names}
    # One data set is all there is: its figures are the figures.
    clusters = Clusters(judged.question, judged.dataset)
    groups = [_Group(judged, clusters.of, absent)]
    if len(names) > 1:
        groups += [_Group(judged.where(members[name]), clusters.of[members[name]], absent) for name in names]
    points = np.stack([group.figures(np.ones((1, len(clusters))))[0] for group in groups])
    drawn = np.full((1, *points.shape), np.nan)
    if draws and len(clusters):
        drawn = bootstrap(clusters, lambda w: np.stack([group.figures(w) for group in groups], 1), draws, seed)
    for number, group in enumerate(groups):
        if group.counts.questions < 2:
            drawn[:, number] = np.nan
    last = slice(1 if len(names) > 1 else 0, None)
    defined = ~np.isnan(points[last])
    estimates = [_estimates(point, drawn[:, number]) for number, point in enumerate(points)]
    return MetricTable(
        estimates=estimates[0],
        datasets=dict(zip(names, estimates[last], strict=False)),
        macro=_estimates(_mean(points[None, last], defined)[0], _mean(drawn[:, last], defined)),
        macro_datasets=dict(zip(METRICS, defined.sum(0).tolist() if names else [0] * len(METRICS), strict=True)),
        counts=groups[0].counts,
        dataset_counts={name: group.counts for name, group in zip(names, groups[last], strict=False)},
        absent=absent.said,
    )


def paired_difference(
    first: Judged, second: Judged, draws: int = 1000, seed: int = 0, absent: AbsentPolicy = WrongAndUnsure()
) -> Mapping[str, Estimate]:
    """Every metric of `first` minus that of `second`, on the questions that both have, with its interval.

    A draw takes the same questions from both, so what makes a question easy or hard for both cancels out.

    Raises:
        ValueError: If they share no question, or `draws` is negative.
    """
    check_draws(draws)
    rows = _shared_rows(first, second)
    if not len(rows[0]):
        raise ValueError(
            "`second` must share questions with `first`, by data set and id, to be compared pairwise; got none in "
            "common. Compare their tables."
        )
    first, second = first.where(rows[0]), second.where(rows[1])
    clusters = Clusters(
        np.concatenate([first.question, second.question]), np.concatenate([first.dataset, second.dataset])
    )
    one, other = np.split(clusters.of, [len(first)])
    minuend, subtrahend = _Group(first, one, absent), _Group(second, other, absent)

    def differences(weights: Floats) -> Floats:
        return minuend.figures(weights) - subtrahend.figures(weights)

    point = differences(np.ones((1, len(clusters))))[0]
    enough = draws > 0 and len(clusters) > 1
    drawn = bootstrap(clusters, differences, draws, seed) if enough else np.full((1, len(point)), np.nan)
    return _estimates(point, drawn)


def shared_questions(first: Judged, second: Judged) -> int:
    """How many questions both have, which is what a paired difference is made of."""
    shared = first.where(_shared_rows(first, second)[0])
    return len(Clusters(shared.question, shared.dataset))


def check_draws(draws: int) -> None:
    """Refuses a negative number of draws.

    Raises:
        ValueError: If it is negative.
    """
    if draws < 0:
        raise ValueError(f"`draws` must be at least 0, which leaves the intervals out; got {draws}. 1000 is usual.")


class _Group:
    """Responses that make a table of their own, ready for any draw of all the questions."""

    def __init__(self, judged: Judged, question: NDArray[np.intp], absent: AbsentPolicy) -> None:
        self._rows = Rows(judged.confidence, judged.correct, absent, drawn_with=question)
        self.counts = Counts(
            n=len(judged),
            questions=len(np.unique(question)),
            unparsed=int(np.isnan(judged.confidence).sum()),
            unknown=int(np.isnan(judged.correct).sum()),
        )

    def figures(self, weights: Floats) -> Floats:
        """Every metric for each draw of questions, (B, metrics)."""
        levels = self._rows.levels(weights)
        return np.stack([metric.of(levels) for metric in METRICS.values()], -1)


def _shared_rows(first: Judged, second: Judged) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    clusters = Clusters(
        np.concatenate([first.question, second.question]), np.concatenate([first.dataset, second.dataset])
    )
    one, other = np.split(clusters.of, [len(first)])
    return np.flatnonzero(np.isin(one, other)), np.flatnonzero(np.isin(other, one))


def _estimates(point: Floats, drawn: Floats) -> dict[str, Estimate]:
    estimates = {}
    for name, value, column in zip(METRICS, point.tolist(), drawn.T, strict=True):
        ends = percentile_interval(column) if not math.isnan(value) else (math.nan, math.nan)
        estimates[name] = Estimate(value, *ends)
    return estimates


def _mean(figures: Floats, defined: NDArray[np.bool_]) -> Floats:
    """Mean over the data sets (draws, data sets, metrics) where the figure of the data is defined; NaN if nowhere."""
    number = defined.sum(0)
    total = np.where(defined, figures, 0.0).sum(1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
