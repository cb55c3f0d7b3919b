"""Calibrators without a formula: shares of right responses, by order or by bin."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from vlcal.evaluation.metrics.binning import EqualWidth
from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.posthoc.base import Calibrator, Parameters


class Isotonic(Calibrator):
    """The rising curve that fits best, straight between its steps; outside what was seen, the nearest end.

    Zadrozny and Elkan (2002), scikit-learn's fit. It can predict exactly 0 and 1, which the log loss punishes.
    """

    kind: ClassVar[str] = "isotonic"

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(confidence, right)
        return {"at": fit.X_thresholds_.tolist(), "curve": fit.y_thresholds_.tolist()}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        return np.interp(confidence, self.parameters["at"], self.parameters["curve"])


class Histogram(Calibrator):
    """Share of right responses in the bin of the confidence, bins of equal width with 1.0 in the last.

    Zadrozny and Elkan (2001). The centre of a bin counts as one response more, so a bin nobody was in predicts its
    centre.

    Args:
        bins: How many, at least 1.
    """

    kind: ClassVar[str] = "histogram"

    def __init__(self, bins: int = 10) -> None:
        super().__init__()
        self._binning = EqualWidth(bins)

    def settings(self) -> dict[str, Any]:
        return {"bins": self._binning.bins}

    def _fitted(self, confidence: Floats, right: NDArray[np.bool_], *features: Floats) -> Parameters:
        bins, index = self._binning.bins, self._binning.index(confidence)
        centres = (np.arange(bins) + 0.5) / bins
        count = np.bincount(index, minlength=bins)
        return {"shares": ((np.bincount(index, right, bins) + centres) / (count + 1)).tolist()}

    def _predicted(self, confidence: Floats, *features: Floats) -> Floats:
        return np.asarray(self.parameters["shares"])[self._binning.index(confidence)]
