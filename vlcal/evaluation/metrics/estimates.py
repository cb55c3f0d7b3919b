"""Metrics with their intervals, from draws of the questions."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.metrics.alike import by_kind
from vlcal.evaluation.metrics.bootstrap import Clusters, bootstrap, percentile_interval
from vlcal.evaluation.metrics.inversion import Noisy, plausible, plausible_difference
from vlcal.evaluation.metrics.levels import Floats, Levels, Rows
from vlcal.evaluation.metrics.metric import Deviation
from vlcal.evaluation.metrics.registry import METRICS
from vlcal.evaluation.metrics.responses import AbsentPolicy, ScoredResponses

QUANTILES = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)  # 2.80: level .05 on two sides, power .8
CELLS = 2**24  # of noise held for one metric: 128 MiB. With a bin for each of very many values, fewer draws are kept


@dataclass(frozen=True)
class Estimate:
    """The value of a metric with its 95 % interval; NaN where undefined.

    Args:
        value: Over the data as they are.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Contrast(Estimate):
    """The difference of a metric between two runs, with its 95 % interval; NaN where undefined.

    Args:
        detectable: The minimum detectable difference: a true one of that size is found, its interval without 0, in 80 %
            of samples of as many questions.
    """

    detectable: float = math.nan


class Group:
    """Responses of which some metrics are computed.

    Args:
        responses: The responses.
        question: The number of each response's question, among all that are drawn.
        absent: How responses without a confidence are scored.
        names: Of the metrics.
    """

    def __init__(
        self,
        responses: ScoredResponses,
        question: NDArray[np.intp],
        absent: AbsentPolicy,
        names: Collection[str] = METRICS,
    ) -> None:
        self.rows = Rows(responses.confidence, responses.correct, absent, drawn_with=question)
        self.once = self.rows.once()
        self.questions = len(np.unique(question))
        self.values = {name: float(METRICS[name].of(self.once)[0]) for name in names}
        self.deviations: dict[str, Deviation] = {}
        self.plain = []
        for name in names:
            deviation = METRICS[name].deviation
            if deviation is None:
                self.plain.append(METRICS[name])
            elif not math.isnan(self.values[name]):
                self.deviations[name] = deviation(self.once)

    def metrics(self, levels: Levels) -> Floats:
        """Every metric that is no norm of deviations, for each draw of questions, (B, metrics)."""
        return np.array([metric.of(levels) for metric in self.plain]).reshape(-1, len(levels.asked)).T


@dataclass(frozen=True)
class Sampled:
    """Metrics with their variation over samples of questions.

    Args:
        values: Metric name -> value.
        drawn: Metric name -> its value in each draw, (draws,), of metrics that are no norm of deviations.
        noisy: Metric name -> its deviations with their noise, of those that are; none where the metric is undefined.
    """

    values: Mapping[str, float]
    drawn: Mapping[str, Floats]
    noisy: Mapping[str, Noisy]

    def estimate(self, name: str) -> Estimate:
        """A metric with its interval."""
        return mean_estimate([self], name)


def sample(groups: Sequence[Group], clusters: Clusters, draws: int, seed: int) -> list[Sampled]:
    """The metrics of groups in the same draws; no draws for a group with fewer than two questions."""
    if not draws or not len(clusters):
        return [Sampled(group.values, {}, {}) for group in groups]
    kinds, rows = by_kind(clusters, [group.rows for group in groups])

    def metrics(weights: Floats) -> Floats:
        return np.stack([group.metrics(some.levels(weights)) for group, some in zip(groups, rows, strict=True)], 1)

    drawn = bootstrap(kinds, metrics, draws, seed)
    noise = _noise(groups, rows, kinds.signs(draws, seed))
    return [
        Sampled(
            group.values,
            {metric.name: drawn[:, number, column] for column, metric in enumerate(group.plain)},
            {
                name: Noisy(deviation, deviation.gather(group.once)[0], added[name])
                for name, deviation in group.deviations.items()
            },
        )
        if group.questions > 1
        else Sampled(group.values, {}, {})
        for number, (group, added) in enumerate(zip(groups, noise, strict=True))
    ]


def mean_estimate(sampled: Sequence[Sampled], name: str) -> Estimate:
    """The unweighted mean of a metric over the groups where it is defined."""
    defined = [each for each in sampled if not math.isnan(each.values[name])]
    if not defined:
        return Estimate(math.nan)
    value = float(np.mean([each.values[name] for each in defined]))
    if all(name in each.noisy for each in defined):
        draws = min(len(each.noisy[name].noise) for each in defined)
        interval = plausible([replace(each.noisy[name], noise=each.noisy[name].noise[:draws]) for each in defined])
        return _holding(value, interval.low, interval.high)
    if all(name in each.drawn for each in defined):
        return Estimate(value, *percentile_interval(np.mean([each.drawn[name] for each in defined], 0)))
    return Estimate(value)


def difference_estimate(first: Sampled, second: Sampled, name: str) -> Contrast:
    """A metric of the first minus that of the second, which share their draws."""
    value = first.values[name] - second.values[name]
    if name in first.noisy and name in second.noisy:
        one, other = plausible([first.noisy[name]]), plausible([second.noisy[name]])
        held = _holding(value, *plausible_difference(one, other))
        return Contrast(value, held.low, held.high, detectable_difference(one.norms - other.norms))
    if name in first.drawn and name in second.drawn and not math.isnan(value):
        drawn = first.drawn[name] - second.drawn[name]
        return Contrast(value, *percentile_interval(drawn), detectable_difference(drawn))
    return Contrast(value)


def detectable_difference(drawn: Floats) -> float:
    """The minimum detectable difference (Bloom, 1995), `(z_.975 + z_.8) SE`; NaN with fewer than two draws.

    SE, the standard error, is the standard deviation of the bootstrapped difference. A two-sided test at the level .05
    finds a true difference of this size with a power of .8.

    Args:
        drawn: The difference in each draw of the questions; NaN where it is undefined.

    >>> round(detectable_difference(np.array([0.0, 0.02, 0.04])), 4)  # SE .02
    0.056
    """
    defined = drawn[~np.isnan(drawn)]
    return QUANTILES * float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan


def _holding(value: float, low: float, high: float) -> Estimate:
    """The value with an interval extended to hold it: a value that is mostly noise can exceed every plausible truth."""
    return Estimate(value, min(low, value), max(high, value))


def _noise(groups: Sequence[Group], rows: Sequence[Rows], signs: Iterator[Floats]) -> list[Mapping[str, Floats]]:
    """Noise in the deviations of each group: metric name -> (draws, parts)."""
    gathered: list[dict[str, list[Floats]]] = [{name: [] for name in group.deviations} for group in groups]
    for block in signs:
        for group, some, blocks in zip(groups, rows, gathered, strict=True):
            levels = some.levels(block)
            for name, deviation in group.deviations.items():
                if sum(map(np.size, blocks[name])) < CELLS:
                    blocks[name].append(deviation.gather(levels))
    return [{name: np.concatenate(parts) for name, parts in blocks.items()} for blocks in gathered]
