"""Calibrators without a formula: shares of right responses, by order or by bin."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from vlcal.evaluation.metrics.binning import EqualWidth
from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.posthoc.base import Calibrator, Parameters


class Isotonic(Calibrator):
    """The non-decreasing f with the least sum of (f(c) - correct)^2, linear between the confidences that were seen.

    Zadrozny and Elkan (2002), by pool adjacent violators. Outside the confidences that were seen it is constant. It
    can predict exactly 0 and 1, which the log loss punishes.
    """

    kind: ClassVar[str] = "isotonic"

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        at, place, count = np.unique(confidence, return_inverse=True, return_counts=True)
        fit = isotonic_regression(np.bincount(place, right) / count, weights=count)
        return {"at": at.tolist(), "curve": fit.x.tolist()}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        return np.interp(confidence, self.parameters["at"], self.parameters["curve"])


class Histogram(Calibrator):
    """Share of right responses in the bin of the confidence, (right + centre) / (n + 1); 1.0 is in the last bin.

    Zadrozny and Elkan (2001), with the centre of the bin as one response more: an empty bin predicts its centre.

    Args:
        bins: How many, at least 1.
    """

    kind: ClassVar[str] = "histogram"

    def __init__(self, bins: int = 10) -> None:
        super().__init__()
        self._binning = EqualWidth(bins)

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        bins, index = self._binning.bins, self._binning.index(confidence)
        centres = (np.arange(bins) + 0.5) / bins
        count = np.bincount(index, minlength=bins)
        return {"shares": ((np.bincount(index, right, bins) + centres) / (count + 1)).tolist()}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        return np.asarray(self.parameters["shares"])[self._binning.index(confidence)]
