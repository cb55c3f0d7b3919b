"""Proper scores: losses whose expectation is smallest where the stated confidence is the true probability."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.scoring import brier_score, log_score, spherical_score


class ProperScore(ABC):
    """Scores a stated confidence against the outcome; a loss, 0 is perfect.

    Rewards subtract it for the confidence that was sampled, objectives take its expectation over every confidence that
    could have been stated.
    """

    @property
    @abstractmethod
    def worst(self) -> float:
        """The largest loss there is; what a confidence that was never stated is charged, so that silence never pays."""

    @abstractmethod
    def __call__(
        self, confidence: Float[Tensor, "*#shape"], outcome: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*joint"]:
        """The loss of stating `confidence` when `outcome` came true; both in [0, 1], broadcast, NaN passes through."""


class Brier(ProperScore):
    """Squared gap between confidence and outcome, from 0 to 1; the score of the published recipe."""

    @property
    def worst(self) -> float:
        """1, for certainty in the wrong."""
        return 1.0

    def __call__(
        self, confidence: Float[Tensor, "*#shape"], outcome: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*joint"]:
        """`(c - o)^2`."""
        return brier_score(confidence, outcome)


class LogScore(ProperScore):
    """Negative log-likelihood of the outcome in nats; punishes certainty in the wrong hardest.

    Args:
        floor: Smallest probability that is charged, in (0, 0.5); bounds the loss at -log(floor).
    """

    def __init__(self, floor: float = 1e-3) -> None:
        if not 0.0 < floor < 0.5:
            raise UserError(
                f"`floor` must lie in (0, 0.5), since the loss is bounded by -log(floor); got {floor}. Try 0.001."
            )
        self.floor = floor

    @property
    def worst(self) -> float:
        """The loss of certainty in the wrong, -log(floor)."""
        return -math.log(self.floor)

    def __call__(
        self, confidence: Float[Tensor, "*#shape"], outcome: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*joint"]:
        """`-(o log c + (1 - o) log(1 - c))`, in nats, with c at least `floor` away from 0 and 1."""
        return log_score(confidence, outcome, floor=self.floor)


class SphericalScore(ProperScore):
    """One minus the probability of the outcome over the length of the forecast, from 0 to 1."""

    @property
    def worst(self) -> float:
        """1, for certainty in the wrong."""
        return 1.0

    def __call__(
        self, confidence: Float[Tensor, "*#shape"], outcome: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*joint"]:
        """`1 - (o c + (1 - o) (1 - c)) / sqrt(c^2 + (1 - c)^2)`, one minus the cosine of forecast and outcome."""
        return spherical_score(confidence, outcome)
