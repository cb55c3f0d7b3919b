from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq

from vlcal.evaluation.metrics import ece_per_value, smooth_ece

Array = NDArray[np.float64]


def by_definition(confidence: Array, correct: Array, nodes: int = 501) -> float:
    """Blasiok and Nakkiran's (2023) figure by sums over images of every response, and scipy's root finder."""
    at = np.linspace(0, 1, nodes)
    images = np.concatenate([sign * confidence + 2 * turn for turn in range(-3, 4) for sign in (1, -1)])
    residual = np.tile(correct - confidence, 14) / len(correct)

    def gap(deviation: float) -> float:
        kernel = np.exp(-(((at[:, None] - images) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
        return float(np.trapezoid(np.abs(kernel @ residual), at)) - deviation

    return float(brentq(gap, 1e-3, 1.0, xtol=1e-12))


def test_it_is_the_figure_of_the_definition_for_stated_levels() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 11, 120) / 10
    for correct in ((rng.random(120) < levels**3), (rng.random(120) < 0.5), (rng.random(120) < 1 - levels)):
        expected = by_definition(levels, correct.astype(float))
        assert smooth_ece(levels, correct) == pytest.approx(expected, abs=1e-6)


def test_it_is_the_figure_of_the_definition_for_a_continuum_but_for_the_grid() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random(120)
    correct = (rng.random(120) < confidence**2).astype(float)

    assert smooth_ece(confidence, correct) == pytest.approx(by_definition(confidence, correct, 1501), abs=1e-4)


def test_certain_and_always_wrong_is_1_and_calibrated_is_0() -> None:
    assert smooth_ece(np.ones(7), np.zeros(7)) == pytest.approx(1.0, abs=1e-6)
    assert smooth_ece(np.full(10, 0.7), np.arange(10) < 7) == pytest.approx(0.0, abs=1e-6)


def test_one_confidence_has_the_gap_that_every_ece_gives_it() -> None:
    # A kernel of unit mass spreads one gap without cancelling any of it.
    confidence, correct = np.full(40, 0.9), (np.arange(40) < 20).astype(float)

    assert smooth_ece(confidence, correct) == pytest.approx(ece_per_value(confidence, correct), abs=1e-6)


def test_a_hair_to_the_side_moves_it_by_the_root_of_a_hair_where_bins_jump() -> None:
    correct = np.array([1.0, 0.0] * 20)
    here, there = np.full(40, 0.5), np.full(40, 0.5) + np.tile([1e-5, -1e-5], 20)

    assert smooth_ece(there, correct) == pytest.approx(smooth_ece(here, correct), abs=1e-5**0.5)
    assert ece_per_value(there, correct) == pytest.approx(0.5, abs=1e-4)
    assert ece_per_value(here, correct) == pytest.approx(0.0, abs=1e-4)
