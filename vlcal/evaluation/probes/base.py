"""The family of probes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.evaluation.study import Study
from vlcal.evaluation.summary import known_auroc

Columns = Mapping[str, Float[Tensor, " N"]]
KINDS = ("overall", "visual", "reasoning")


class Probe(ABC):
    """Changes one thing about responses and looks at what their confidences do."""

    @abstractmethod
    def __call__(self, study: Study) -> Columns:
        """Figures of each response, by name; NaN where there is none."""

    @abstractmethod
    def summarize(self, columns: Columns) -> dict[str, Any]:
        """What the figures of all responses say, in plain values; None where nothing can be said."""


def known_mean(values: Float[Tensor, " N"]) -> float | None:
    """The mean of what is there; None where nothing is."""
    known = values[~values.isnan()].double()
    return round(float(known.mean()), 6) if len(known) else None


def mean_where(values: Float[Tensor, " N"], claim: Bool[Tensor, " N"]) -> float | None:
    """The mean of what is there in the rows that the claim holds for; None where nothing is."""
    return known_mean(values[claim])


def gap(right: float | None, wrong: float | None) -> float | None:
    """The first less the second; None where one is missing."""
    return None if right is None or wrong is None else round(right - wrong, 6)


def told_apart(confidence: Float[Tensor, " N"], truth: Float[Tensor, " N"]) -> float | None:
    """AUROC over the rows where both are known; None where none is, or all are right or all wrong."""
    known = ~confidence.isnan()
    found = known_auroc(confidence[known], truth[known])
    return None if math.isnan(found) else round(found, 6)


def counts(values: Float[Tensor, " N"]) -> dict[str, int]:
    """How many responses there were, and how many of them the figures rest on."""
    return {"asked": len(values), "used": int((~values.isnan()).sum())}
