"""Intervals of figures that noise can only add to, such as the ECE: tests of what the truth may be, turned round.

A percentile interval of such a figure is too high, since its draws hold the noise twice: perfectly calibrated answers
have an ECE above 0, and their bootstrap draws a higher one still. So the question is turned round (Carpenter, 1999):
with which true deviations would a figure like that of the data be nothing unusual? Those deviations are the ones seen,
all of them times one scale; and, since many of the small ones may be noise, the ones larger than their noise times one
scale while all others are none. Both patterns are tried, and the interval holds what either of them allows. A figure
below what noise alone usually gives is luck: its upper end is that of the usual figure, the power-constrained limit of
Cowan, Cranmer, Gross and Vitells (2011).

What noise does is had from random signs of the questions' deviations, the wild bootstrap of Liu (1988). Other than a
resample it is right even for the bin with one response.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from vlcal.evaluation.metrics.deviation import Deviation
from vlcal.evaluation.metrics.levels import Floats

NOTICED = 2.0  # times the variance of its noise that the square of a deviation exceeds: what AIC would keep
PRECISION = 1e-3  # of a scale
TIES = 1e-9  # figures that are the same but for rounding


@dataclass(frozen=True)
class Noisy:
    """The deviations of some responses, and what chance adds to them.

    Args:
        deviation: What the figure is the size of.
        parts: The deviations seen, (parts,).
        noise: What chance could have added, (draws, parts).
    """

    deviation: Deviation
    parts: Floats
    noise: Floats


@dataclass(frozen=True)
class Plausible:
    """Values of a figure that explain what is seen.

    Args:
        low: Smallest such value.
        middle: The value that would give more than what is seen as often as less.
        high: Largest such value.
        sizes: What would be seen if `middle` were true, (draws,).
    """

    low: float
    middle: float
    high: float
    sizes: Floats

    @property
    def below(self) -> float:
        """How far it may be below its middle."""
        return self.middle - self.low

    @property
    def above(self) -> float:
        """How far it may be above."""
        return self.high - self.middle


def plausible(found: Sequence[Noisy], level: float = 0.95) -> Plausible:
    """The interval of the mean figure of some data sets, with one scale for the deviations of all.

    Args:
        found: One for each data set, with draws of the same number.
        level: How often the interval is to hold the truth.
    """
    seen = _Pattern(found, [_all(each) for each in found])
    noticed = _Pattern(found, [_noticed(each) for each in found])
    patterns = [seen, noticed] if noticed else [seen]
    observed = float(np.mean([each.deviation.size(each.deviation.seen(each.parts[None]))[0] for each in found]))
    low = [each.figure(each.scale((1 + level) / 2, observed)) for each in patterns]
    # Less than half of what chance alone adds is luck, and no reason to exclude what more of it would not.
    usual = max(observed, float(np.median(seen.sizes(0.0))))
    high = [each.figure(each.scale((1 - level) / 2, usual)) for each in patterns]
    middle = seen.scale(0.5, observed)
    return Plausible(min(low), seen.figure(middle), max(high), seen.sizes(middle))


def plausible_difference(first: Plausible, second: Plausible) -> tuple[float, float]:
    """Interval of the first figure minus the second, from their own. Zou and Donner (2008), MOVER.

    As far as both go up and down `together` in the draws, only how differently far they go counts. The middle of a
    figure that may well be none is not uncertain but too high, so there it counts in full: squares of a sum in place of
    sums of squares. Without that, intervals of too bold minus calibrated held the truth in .88 of the simulations.
    """
    spread = np.std(first.sizes) * np.std(second.sizes)
    together = np.cov(first.sizes, second.sizes, bias=True)[0, 1] / spread if spread > 0 else 0.0
    alike = max((first.below - second.below) ** 2, (first.above - second.above) ** 2)

    def reach(one: float, other: float, may_be_none: bool) -> float:
        opposed = 1.0 if may_be_none else max(-together, 0.0)
        share = min(max(together, 0.0), 1.0)
        return math.sqrt((1 - share) * (one**2 + other**2 + 2 * opposed * one * other) + share * alike)

    middle = first.middle - second.middle
    return (
        middle - reach(first.below, second.above, may_be_none=first.low <= 0),
        middle + reach(first.above, second.below, may_be_none=second.low <= 0),
    )


class _Pattern:
    """True deviations up to their scale, one pattern (parts,) for each data set."""

    def __init__(self, found: Sequence[Noisy], patterns: Sequence[Floats]) -> None:
        self._deviations = [each.deviation for each in found]
        self._patterns = patterns
        self._noise = [each.deviation.seen(each.noise) for each in found]
        ratios = [
            each.deviation.most[pattern != 0] / np.abs(pattern[pattern != 0])
            for each, pattern in zip(found, patterns, strict=True)
        ]
        self._largest = max((float(ratio.max(initial=0.0)) for ratio in ratios), default=0.0)

    def __bool__(self) -> bool:
        """Whether anything deviates."""
        return self._largest > 0

    def figure(self, scale: float) -> float:
        """The figure of the deviations themselves."""
        pairs = zip(self._deviations, self._true(scale), strict=True)
        return float(np.mean([deviation.figure(true)[0] for deviation, true in pairs]))

    def sizes(self, scale: float) -> Floats:
        """What would be seen of them, (draws,)."""
        triples = zip(self._deviations, self._noise, self._true(scale), strict=True)
        sizes = [deviation.size(noise + deviation.seen(true)) for deviation, noise, true in triples]
        mean: Floats = np.mean(sizes, 0)
        return mean

    def scale(self, quantile: float, size: float) -> float:
        """The smallest scale at which that quantile of the sizes is as large as `size`."""

        def excess(scale: float) -> float:
            return float(np.quantile(self.sizes(scale), quantile)) - size * (1 - TIES)

        high = 1.0
        if excess(0.0) >= 0:
            return 0.0
        while excess(high) < 0:
            if high >= self._largest:  # no deviation can be larger
                return high
            high *= 2
        return float(brentq(excess, 0.0, high, xtol=PRECISION, rtol=PRECISION))

    def _true(self, scale: float) -> list[Floats]:
        pairs = zip(self._deviations, self._patterns, strict=True)
        return [np.clip(scale * pattern, -deviation.most, deviation.most)[None] for deviation, pattern in pairs]


def _all(found: Noisy) -> Floats:
    """The deviations seen; where they cancel out to none at all, as large ones as their noise."""
    return found.parts if found.parts.any() else found.noise.std(0)


def _noticed(found: Noisy) -> Floats:
    """Those of them that stand out from their noise."""
    seen = found.deviation.seen(found.parts[None])[0]
    variance = found.deviation.seen(found.noise).var(0)
    return np.where(seen**2 > NOTICED * variance, found.parts, 0.0)
