"""How far a metric varies with the sample of questions: the bootstrap, by question."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlcal.errors import UserError
from vlcal.evaluation.metrics.levels import Floats

Draw = Callable[[np.random.Generator, int, int], NDArray[Any]]

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
    """

    def __init__(self, question: ArrayLike, dataset: ArrayLike) -> None:
        names, part = np.unique(np.asarray(dataset), return_inverse=True)
        ids, within = np.unique(np.asarray(question), return_inverse=True)
        if part.shape != within.shape:
            raise UserError(f"`dataset` must name one per question; got {part.shape} for {within.shape}.")
        keys, self.of = np.unique(part * max(len(ids), 1) + within, return_inverse=True)
        # Ascending keys make the questions of a data set consecutive.
        self.sizes: NDArray[np.intp] = np.bincount(keys // max(len(ids), 1), minlength=len(names))

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def weights(self, draws: int, seed: int) -> Iterator[Floats]:
        """How often each question is drawn, (B, questions), for a few draws at a time; `draws` rows in all."""
        return self._blocks(_multiplicities, draws, seed)

    def signs(self, draws: int, seed: int) -> Iterator[Floats]:
        """A random sign of each question, (B, questions), less the mean of its data set, in the same blocks.

        Weights of the wild bootstrap (Liu, 1988): a sum over questions, weighted so, varies as it would from sample to
        sample, but around 0.
        """
        return self._blocks(_centred_signs, draws, seed)

    def _blocks(self, draw: Draw, draws: int, seed: int) -> Iterator[Floats]:
        # A stream for each data set, so that nothing depends on how many draws fit into a block.
        streams = np.random.default_rng(seed).spawn(len(self.sizes))
        block = max(1, min(draws, BLOCK // max(len(self.of), 1)))
        for start in range(0, draws, block):
            rows = min(block, draws - start)
            drawn = [draw(rng, rows, int(size)) for rng, size in zip(streams, self.sizes, strict=True)]
            yield np.concatenate(drawn, 1).astype(np.float64)


def _multiplicities(rng: np.random.Generator, rows: int, size: int) -> NDArray[np.intp]:
    """How often each of `size` questions is among `size` drawn with replacement, for each row."""
    drawn = rng.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)


def _centred_signs(rng: np.random.Generator, rows: int, size: int) -> Floats:
    signs = 2.0 * rng.integers(0, 2, (rows, size)) - 1
    centred: Floats = signs - signs.mean(-1, keepdims=True)
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
