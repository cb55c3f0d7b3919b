"""How often a 95 % interval holds the truth: simulated answers of which the true calibration is known.

    python benchmarks/coverage.py --simulations 500 --output runs/coverage.json

Confidences are eleven levels. `bold`: right in c - 0.4 (c - 0.5) of the cases; `calibrated`: in c. `sure` ones are 0.8
to 1.0 in 85 of 100 cases. `sampled` are four responses to each question, of which a right one makes the others likely.
Then the difference of two runs on the same questions, and the mean of three data sets.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from vlcal.evaluation.metrics import METRICS, ScoredResponses
from vlcal.evaluation.metrics.levels import Rows
from vlcal.evaluation.metrics.table import Estimate, metric_estimates, metric_table, paired_difference

Array = NDArray[np.float64]

LEVELS = np.arange(11) / 10
FLAT = np.full(11, 1 / 11)
SURE = np.array([1, 1, 1, 1, 1, 2, 3, 5, 20, 35, 30]) / 100
NAMES = ("accuracy", "overconfidence", "brier", "log_loss", "auroc", "ece_equal_width", "smooth_ece", "rmsce", "mce")
PRECISION = 1e-5  # of the true figures


@dataclass(frozen=True)
class World:
    """Where responses come from.

    Args:
        share: Of each level, (11,).
        right: From the level to the chance of being right.
        samples: Responses to each question.
    """

    share: Array
    right: Callable[[Array], Array]
    samples: int = 1

    def draw(self, rng: np.random.Generator, hardness: Array) -> ScoredResponses:
        """Responses to questions of that hardness in [0, 1], (questions,), which decides half of the outcomes."""
        confidence = np.repeat(rng.choice(LEVELS, len(hardness), p=self.share), self.samples)
        own, luck = rng.random((2, len(confidence)))
        correct = np.where(own < 0.5, luck, np.repeat(hardness, self.samples)) < self.right(confidence)
        question = np.repeat(np.arange(len(hardness)), self.samples).astype(str)
        return ScoredResponses(confidence, correct.astype(float), question, np.full(len(confidence), "a"))

    def truth(self) -> Mapping[str, float]:
        """Every metric with as many responses as make its noise vanish."""
        count = np.round(self.share * 1_000_000).astype(int)
        right = np.round(count * self.right(LEVELS)).astype(int)
        outcomes = np.concatenate([np.arange(n) < r for n, r in zip(count, right, strict=True)]).astype(float)
        levels = Rows(np.repeat(LEVELS, count), outcomes).once()
        return {name: float(METRICS[name].of(levels)[0]) for name in NAMES}


def bold(confidence: Array) -> Array:
    """Too much above a half, too little below."""
    return confidence - 0.4 * (confidence - 0.5)


def calibrated(confidence: Array) -> Array:
    """Right as often as it says."""
    return confidence


BOLD, CALIBRATED = World(FLAT, bold), World(FLAT, calibrated)
SURE_BOLD, SURE_CALIBRATED = World(SURE, lambda c: 0.3 + 0.4 * c), World(SURE, calibrated)
ALONE = {
    "bold": BOLD,
    "calibrated": CALIBRATED,
    "sure, bold": SURE_BOLD,
    "sure, calibrated": SURE_CALIBRATED,
    "sampled, bold": World(FLAT, bold, samples=4),
}
PAIRS = {"bold - calibrated": (BOLD, CALIBRATED), "bold - bold": (BOLD, BOLD), "calibrated - itself": (CALIBRATED,) * 2}
MEANS = {"bold x 3": (BOLD,) * 3, "calibrated x 3": (CALIBRATED,) * 3, "mixed x 3": (BOLD, CALIBRATED, SURE_BOLD)}


Case = tuple[str, Mapping[str, float], Callable[[np.random.Generator, int, int], Mapping[str, Estimate]]]


def cases(rows: int) -> Iterator[Case]:
    """Title, true figures, and how to come by the estimates of one simulation."""
    for title, world in ALONE.items():
        yield title, world.truth(), partial(alone, world, rows)
    for title, (one, other) in PAIRS.items():
        subtrahend = other.truth()
        yield (
            title,
            {name: true - subtrahend[name] for name, true in one.truth().items()},
            partial(pair, one, other, rows),
        )
    for title, worlds in MEANS.items():
        truths = [world.truth() for world in worlds]
        yield (
            title,
            {name: float(np.mean([true[name] for true in truths])) for name in NAMES},
            partial(mean, worlds, rows),
        )


def alone(world: World, rows: int, rng: np.random.Generator, draws: int, seed: int) -> Mapping[str, Estimate]:
    """Figures of one run."""
    return metric_estimates(world.draw(rng, rng.random(rows // world.samples)), NAMES, draws, seed)


def pair(
    one: World, other: World, rows: int, rng: np.random.Generator, draws: int, seed: int
) -> Mapping[str, Estimate]:
    """Figures of one run minus those of another on the same questions."""
    hardness = rng.random(rows)
    return paired_difference(one.draw(rng, hardness), other.draw(rng, hardness), draws, seed)


def mean(worlds: Sequence[World], rows: int, rng: np.random.Generator, draws: int, seed: int) -> Mapping[str, Estimate]:
    """Figures averaged over as many data sets, which share the rows."""
    drawn = [world.draw(rng, rng.random(rows // len(worlds))) for world in worlds]
    together = ScoredResponses(
        np.concatenate([each.confidence for each in drawn]),
        np.concatenate([each.correct for each in drawn]),
        np.concatenate([each.question for each in drawn]),
        np.repeat(np.arange(len(worlds)), rows // len(worlds)).astype(str),
    )
    return metric_table(together, draws, seed).macro


def main() -> None:
    """Count, for each case and size, in how many simulations the interval holds the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--output", type=Path, help="write the shares as JSON")
    args = parser.parse_args()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{'':24}{'n':>6} " + " ".join(f"{name:>15}" for name in NAMES))
    found = {}
    for rows in args.sizes:
        for title, truth, estimates in cases(rows):
            rng = np.random.default_rng(0)
            held = dict.fromkeys(NAMES, 0)
            for seed in range(args.simulations):
                for name, each in estimates(rng, args.draws, seed).items():
                    if name in held:
                        held[name] += each.low - PRECISION <= truth[name] <= each.high + PRECISION
            found[f"{title}, n = {rows}"] = {name: count / args.simulations for name, count in held.items()}
            shares = " ".join(f"{count / args.simulations:15.3f}" for count in held.values())
            console.print(f"{title:24}{rows:6} {shares}")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
