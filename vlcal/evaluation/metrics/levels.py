"""Sums over the distinct confidences, for many resamples at once: all that a metric needs."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlcal.errors import UserError
from vlcal.evaluation.metrics.responses import AbsentPolicy, WrongAndUnsure, check_unit

Floats = NDArray[np.float64]
RIGHT = 0.5  # where a metric needs a class, an outcome of at least this counts as right


@dataclass(frozen=True)
class Levels:
    """B resamples of the same responses as sums over the K distinct confidences.

    Every metric is a function of these sums, so one implementation serves the value itself (one row, each response
    counted once) and its bootstrap (a row per draw, each response counted as often as its question was drawn).

    Args:
        value: The distinct confidences, ascending, (K,).
        count: Responses with that confidence whose outcome is known, (B, K).
        credit: Sum of their outcomes, (B, K).
        square: Sum of their squared outcomes, (B, K); equal to `credit` unless some are partly right.
        right: How many of them count as right (outcome at least `RIGHT`), (B, K).
        kept: Responses with that confidence, whether or not the outcome is known, (B, K).
        stated: How many of `kept` were stated by the model and not filled in, (B, K).
        asked: All responses, with and without a confidence, (B,).
        pairs: Pairs of a right and a wrong response to the same question, (B,).
        won: How many of them have the right one ahead, a tie counting half, (B,).
    """

    value: Floats
    count: Floats
    credit: Floats
    square: Floats
    right: Floats
    kept: Floats
    stated: Floats
    asked: Floats
    pairs: Floats
    won: Floats

    @cached_property
    def total(self) -> Floats:
        """Responses that are scored, (B,)."""
        total: Floats = self.count.sum(-1)
        return total

    @cached_property
    def residual(self) -> Floats:
        """Sum of confidence minus outcome, (B, K): positive where overconfident."""
        return self.count * self.value - self.credit

    @cached_property
    def wrong(self) -> Floats:
        """How many count as wrong, (B, K)."""
        return self.count - self.right

    @cached_property
    def accepted(self) -> Floats:
        """Responses at least as sure as each level, surest level first, (B, K)."""
        return np.cumsum(self.count[:, ::-1], -1)

    @cached_property
    def errors(self) -> Floats:
        """How many of `accepted` are wrong, (B, K)."""
        return np.cumsum(self.wrong[:, ::-1], -1)


class Rows:
    """Responses sorted by confidence, for sums per level with any weights.

    Args:
        confidence: In [0, 1] after the absent policy; NaN where absent.
        correct: In [0, 1], NaN where unknown.
        absent: How a response without a confidence is scored.
        drawn_with: For each response the column of the weights that counts it; each has its own by default.
    """

    def __init__(
        self,
        confidence: ArrayLike,
        correct: ArrayLike,
        absent: AbsentPolicy = WrongAndUnsure(),
        drawn_with: NDArray[np.intp] | None = None,
    ) -> None:
        stated, outcome = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
        if stated.ndim != 1 or stated.shape != outcome.shape:
            raise UserError(
                f"`correct` must be a flat array with one outcome per confidence; got {outcome.shape} for "
                f"{stated.shape}."
            )
        check_unit("correct", outcome)
        filled, scored = absent(stated, outcome)
        check_unit("confidence", filled)  # after the policy, which may turn scores of another scale into ranks
        place = np.arange(len(filled)) if drawn_with is None else drawn_with
        self._pairs, self._won = _pairs_within(place, filled, scored)
        self._width = int(place.max(initial=-1)) + 1
        # NaN sorts to the end.
        order, left_out = np.split(np.argsort(filled, kind="stable"), [int((~np.isnan(filled)).sum())])
        self._drawn_with, self._left_out = place[order], place[left_out]
        self.value, self._starts = np.unique(filled[order], return_index=True)
        outcome, known = scored[order], ~np.isnan(scored[order])
        columns = {
            "count": known.astype(np.float64),
            "credit": np.where(known, outcome, 0.0),
            "square": np.where(known, outcome**2, 0.0),
            "right": (known & (outcome >= RIGHT)).astype(np.float64),
            "kept": np.ones(len(order)),
            "stated": (~np.isnan(stated[order])).astype(np.float64),
        }
        # Most columns equal an earlier one, and every sum costs a pass over all responses of all draws.
        self._distinct: list[Floats] = []
        self._which: dict[str, int] = {}
        for name, column in columns.items():
            equal = (at for at, other in enumerate(self._distinct) if np.array_equal(other, column))
            self._which[name] = next(equal, len(self._distinct))
            if self._which[name] == len(self._distinct):
                self._distinct.append(column)

    def levels(self, weights: Floats) -> Levels:
        """Sums over the levels, for each row of whole weights (B, n), or (B, questions) if drawn with those."""
        drawn = np.take(weights, self._drawn_with, axis=-1)
        # A column of ones, as most are, needs no product.
        weighted = [drawn if np.all(column == 1) else drawn * column for column in self._distinct]
        sums = [segment_sums(values, self._starts) for values in weighted]
        asked = drawn.sum(-1) + weights[:, self._left_out].sum(-1)
        pairs, won = (weights[:, : self._width] @ column for column in (self._pairs, self._won))
        named = {name: sums[at] for name, at in self._which.items()}
        return Levels(value=self.value, asked=asked, pairs=pairs, won=won, **named)

    def coded(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For each response its column of the weights and a number; equal numbers add the same to every sum."""
        number = np.repeat(np.arange(len(self._starts)), np.diff(self._starts, append=len(self._drawn_with)))
        for column in self._distinct:
            values, which = np.unique(column, return_inverse=True)
            number = np.unique(number * len(values) + which, return_inverse=True)[1]
        left_out = np.full(len(self._left_out), int(number.max(initial=-1)) + 1)
        return np.concatenate([self._drawn_with, self._left_out]), np.concatenate([number, left_out])

    def of_columns(self, columns: NDArray[np.intp]) -> Rows:
        """The responses of some columns of the weights, which become its columns in that order.

        Every confidence must be among them, or its level is lost.
        """
        place = np.full(max(self._width, int(columns.max(initial=-1)) + 1), -1)
        place[columns] = np.arange(len(columns))
        level = np.repeat(np.arange(len(self._starts)), np.diff(self._starts, append=len(self._drawn_with)))
        there, left_out = place[self._drawn_with] >= 0, place[self._left_out] >= 0
        some = copy(self)
        some._drawn_with, some._left_out = place[self._drawn_with[there]], place[self._left_out[left_out]]
        some._starts = np.flatnonzero(np.diff(level[there], prepend=-1))
        some._distinct = [column[there] for column in self._distinct]
        some._width = len(columns)
        some._pairs, some._won = (
            np.pad(column, (0, len(place) - self._width))[columns] for column in (self._pairs, self._won)
        )
        return some

    def once(self) -> Levels:
        """The sums with every response counted once: one row, the data themselves."""
        return self.levels(np.ones((1, self._width)))


def _pairs_within(place: NDArray[np.intp], confidence: Floats, correct: Floats) -> tuple[Floats, Floats]:
    """For each question its pairs of a right and a wrong response, and those with the right one ahead, (questions,)."""
    width, scored = int(place.max(initial=-1)) + 1, ~np.isnan(confidence + correct)
    place, confidence, right = place[scored], confidence[scored], correct[scored] >= RIGHT
    order = np.lexsort((confidence, place))
    place, confidence, right = place[order], confidence[order], right[order]
    new = np.diff(place, prepend=-1) != 0
    starts = np.flatnonzero(new | (np.diff(confidence, prepend=-1) != 0))  # of each confidence within a question
    level_of = place[starts]
    rights, wrongs = (segment_sums(column.astype(np.float64)[None], starts)[0] for column in (right, ~right))
    below = np.cumsum(wrongs) - wrongs
    first = np.searchsorted(level_of, level_of)  # the lowest confidence of the same question
    ahead = rights * (below - below[first] + wrongs / 2)
    of_right, of_wrong, won = (np.bincount(level_of, sums, width) for sums in (rights, wrongs, ahead))
    return (of_right * of_wrong).astype(np.float64), won.astype(np.float64)


def segment_sums(values: Floats, starts: NDArray[np.intp]) -> Floats:
    """Sums of `values` (B, n) from each start to the next, (B, segments); starts ascend without repeats from 0."""
    if len(starts) == values.shape[-1]:  # segments of one value each, or none at all
        return values
    sums: Floats = np.add.reduceat(values, starts, axis=-1)
    return sums


def ratio(above: ArrayLike, below: ArrayLike) -> Floats:
    """`above / below`, NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    quotient: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return quotient
