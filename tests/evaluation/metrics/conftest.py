from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

Responses = tuple[NDArray[np.float64], NDArray[np.float64]]


def _cases() -> dict[str, Responses]:
    rng = np.random.default_rng(0)
    continuous, levels = rng.random(500), rng.integers(0, 11, 400) / 10
    return {
        "continuous": (continuous, (rng.random(500) < continuous**2).astype(float)),
        "levels": (levels, (rng.random(400) < 0.3 + levels / 2).astype(float)),
        "float32 levels": (levels.astype(np.float32).astype(float), (rng.random(400) < levels).astype(float)),
        "constant": (np.full(50, 0.8), (np.arange(50) % 3 > 0).astype(float)),
        "all right": (levels[:60], np.ones(60)),
        "all wrong": (levels[:60], np.zeros(60)),
        "only 0 and 1": (rng.integers(0, 2, 80).astype(float), rng.integers(0, 2, 80).astype(float)),
        "always the opposite": (np.array([0.0, 1.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0, 1.0])),
        "two values, tied": (np.repeat([0.2, 0.7], 30), np.tile([0.0, 1.0, 1.0], 20)),
        "one right": (np.array([0.3]), np.array([1.0])),
        "one wrong": (np.array([1.0]), np.array([0.0])),
    }


CASES = _cases()


@pytest.fixture(params=CASES, ids=str)
def responses(request: pytest.FixtureRequest) -> Responses:
    """Confidence and outcome: random ones, and those that metrics trip over."""
    return CASES[request.param]
