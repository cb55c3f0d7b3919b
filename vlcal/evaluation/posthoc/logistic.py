"""Calibrators that are a logistic regression: on the logit of the confidence, its logarithms, or with a second feature.

Outcomes are softened as Platt (1999) does, right to (r + 1) / (r + 2) and wrong to 1 / (w + 2) of r right and w wrong,
so that the fit is finite where a threshold separates right from wrong.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize
from scipy.special import expit, log_expit, logit

from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.posthoc.base import Calibrator, Parameters

FLOOR = 1e-3  # confidences are kept that far from 0 and 1, whose logits are infinite
COOLEST, HOTTEST = 0.05, 20.0
RIDGE = 1e-6  # settles what the data leave open, as when all confidences are equal


class Temperature(Calibrator):
    """sigmoid(logit(c) / T): one number, spreads or shrinks confidences around 0.5, never reorders them.

    Guo, Pleiss, Sun and Weinberger (2017), for one probability. T lies in [0.05, 20].
    """

    kind: ClassVar[str] = "temperature"

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        slope = fitted_logistic(_logit(confidence)[:, None], right, Bounds([1 / HOTTEST], [1 / COOLEST]))
        return {"temperature": [1 / float(slope[0])]}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        return _probability(_logit(confidence) / self.parameters["temperature"][0])


class Platt(Calibrator):
    """sigmoid(a logit(c) + b): shifts confidences too, and reverses their order where a < 0.

    Platt (1999), on the logit of the confidence.
    """

    kind: ClassVar[str] = "platt"

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        return {"weights": fitted_logistic(_with_one(_logit(confidence)), right).tolist()}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        return _probability(_with_one(_logit(confidence)) @ np.asarray(self.parameters["weights"]))


class Beta(Calibrator):
    """sigmoid(a log(c) - b log(1 - c) + m) with a, b at least 0: each end has its own slope; never reorders.

    Kull, Silva Filho and Flach (2017), with the bounds inside the fit.
    """

    kind: ClassVar[str] = "beta"

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        weights = fitted_logistic(_logs(confidence), right, Bounds([0.0, 0.0, -np.inf], np.inf))
        return {"weights": weights.tolist()}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        return _probability(_logs(confidence) @ np.asarray(self.parameters["weights"]))


class WithCertainty(Calibrator):
    """sigmoid(a logit(c) + b z + m), z the visual certainty of the response in deviations from its mean.

    Measures what the label-free certainty adds to the stated confidence. The certainty may have any scale; an absent
    one (NaN) counts as the mean.
    """

    kind: ClassVar[str] = "with_certainty"
    features: ClassVar[tuple[str, ...]] = ("certainty",)

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        known = features[0][np.isfinite(features[0])]
        mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        scale = {"mean": [mean], "deviation": [deviation if deviation > 0 else 1.0]}
        weights = fitted_logistic(_with_one(_logit(confidence), _standard(features[0], scale)), right)
        return {**scale, "weights": weights.tolist()}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        columns = _with_one(_logit(confidence), _standard(features[0], self.parameters))
        return _probability(columns @ np.asarray(self.parameters["weights"]))


def fitted_logistic(columns: Floats, right: NDArray[np.bool_], bounds: Bounds | None = None) -> Floats:
    """Weights (F,) of the logistic regression of softened outcomes on columns (n, F), by L-BFGS-B."""
    right_count = int(right.sum())
    target = np.where(right, (right_count + 1) / (right_count + 2), 1 / (len(right) - right_count + 2))

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = columns @ weights
        cost = -(target * log_expit(scores) + (1 - target) * log_expit(-scores)).mean() + RIDGE * weights @ weights
        return cost, columns.T @ (expit(scores) - target) / len(target) + 2 * RIDGE * weights

    start = np.zeros(columns.shape[1])
    start[0] = 1.0  # the confidence as stated
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-8})
    weights: Floats = found.x
    return weights


def _logit(confidence: Floats) -> Floats:
    scores: Floats = logit(np.clip(confidence, FLOOR, 1 - FLOOR))
    return scores


def _logs(confidence: Floats) -> Floats:
    clipped = np.clip(confidence, FLOOR, 1 - FLOOR)
    return _with_one(np.log(clipped), -np.log1p(-clipped))


def _with_one(*columns: Floats) -> Floats:
    return np.stack([*columns, np.ones(len(columns[0]))], 1)


def _standard(certainty: Floats, scale: Parameters) -> Floats:
    standard = (certainty - scale["mean"][0]) / scale["deviation"][0]
    return np.where(np.isfinite(standard), standard, 0.0)


def _probability(scores: Floats) -> Floats:
    probability: Floats = expit(scores)
    return probability
