"""How far a metric varies with the sample of questions: the bootstrap, by question."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlcal.errors import UserError
from vlcal.evaluation.metrics.levels import Floats

Draw = Callable[[np.random.Generator, int, NDArray[np.intp]], NDArray[Any]]

BLOCK = 2**18  # weights held at a time: 2 MiB, about what a core's cache takes


class Clusters:
    """Responses grouped by the question they answer; a question belongs to one data set.

    Questions are drawn with replacement within their data set, so every draw has as many of each data set as the data.
    A drawn question brings all its samples (Cameron, Gelbach and Miller, 2008).

    Args:
        question: The question's id, (n,).
        dataset: The data set's name, (n,); the same id in two of them is two questions.

    Attributes:
        of: The number of each response's question, (n,).
        sizes: How many questions each data set has, in the order of their names.
        alike: For each data set the questions that each column of the weights stands for: one, or all of a kind.
    """

    def __init__(self, question: ArrayLike, dataset: ArrayLike) -> None:
        names, part = np.unique(np.asarray(dataset), return_inverse=True)
        ids, within = np.unique(np.asarray(question), return_inverse=True)
        if part.shape != within.shape:
            raise UserError(f"`dataset` must name one per question; got {part.shape} for {within.shape}.")
        keys, self.of = np.unique(part * max(len(ids), 1) + within, return_inverse=True)
        # Ascending keys make the questions of a data set consecutive.
        self.sizes: NDArray[np.intp] = np.bincount(keys // max(len(ids), 1), minlength=len(names))
        self.alike = [np.ones(size, np.intp) for size in self.sizes]

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def of_kinds(self, count: NDArray[np.intp], first: NDArray[np.intp]) -> Clusters:
        """The same questions with a column of the weights for each kind of them.

        Args:
            count: How many questions are of each kind, those of a data set together.
            first: One of them.
        """
        kinds = copy(self)
        kinds.alike = np.split(count, np.searchsorted(first, np.cumsum(self.sizes))[:-1])
        return kinds

    def weights(self, draws: int, seed: int) -> Iterator[Floats]:
        """How often each question or kind is drawn, (B, columns), for a few draws at a time; `draws` rows in all."""
        return self._blocks(_multiplicities, draws, seed)

    def signs(self, draws: int, seed: int) -> Iterator[Floats]:
        """A random sign of each question, less the mean of its data set, summed over those of a column, (B, columns).

        Weights of the wild bootstrap (Liu, 1988): a sum over questions, weighted so, varies as it would from sample to
        sample, but around 0.
        """
        return self._blocks(_centred_signs, draws, seed)

    def _blocks(self, draw: Draw, draws: int, seed: int) -> Iterator[Floats]:
        # A stream for each data set, so that nothing depends on how many draws fit into a block.
        streams = np.random.default_rng(seed).spawn(len(self.sizes))
        # As wide as the data where each question is drawn by itself.
        columns = sum(map(len, self.alike))
        block = max(1, min(draws, BLOCK // max(len(self.of) if columns == len(self) else columns, 1)))
        for start in range(0, draws, block):
            rows = min(block, draws - start)
            drawn = [draw(rng, rows, alike) for rng, alike in zip(streams, self.alike, strict=True)]
            yield np.concatenate(drawn, 1).astype(np.float64)


def _multiplicities(rng: np.random.Generator, rows: int, alike: NDArray[np.intp]) -> NDArray[np.intp]:
    """How often questions of each kind are among as many drawn with replacement as there are, for each row."""
    size = int(alike.sum())
    if size > len(alike):
        return rng.multinomial(size, alike / size, rows)
    drawn = rng.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)


def _centred_signs(rng: np.random.Generator, rows: int, alike: NDArray[np.intp]) -> Floats:
    """Sums of random signs of the questions of each kind, less their share of the mean."""
    size = int(alike.sum())
    if size > len(alike):
        signs = 2.0 * rng.binomial(alike, 0.5, (rows, len(alike))) - alike
    else:
        signs = 2.0 * rng.integers(0, 2, (rows, size)) - 1
    centred: Floats = signs - alike * (signs.sum(-1, keepdims=True) / size)
    return centred


def bootstrap(clusters: Clusters, metrics: Callable[[Floats], Floats], draws: int = 1000, seed: int = 0) -> Floats:
    """Metrics of resampled questions, (draws, ...).

    Args:
        clusters: The questions.
        metrics: From how often each question is drawn, (B, questions), to the metrics of each draw, (B, ...).
        draws: How many, at least 1.
        seed: Of the draws: the same data and seed give the same numbers.

    Raises:
        UserError: If there is no draw or no question.
    """
    if draws < 1 or not len(clusters):
        raise UserError(
            f"`draws` must be at least 1, of at least one question; got {draws} draws of {len(clusters)} questions."
        )
    return np.concatenate([metrics(weights) for weights in clusters.weights(draws, seed)])


def percentile_interval(drawn: Floats, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of the draws in which the metric is defined; NaN if it never is. Efron (1979)."""
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
