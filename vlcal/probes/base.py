"""The family of probes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.evaluation.metrics import LeaveOut, auroc
from vlcal.probes.study import Study

Columns = Mapping[str, Float[Tensor, " N"]]
KINDS = ("overall", "visual", "reasoning")


class Probe(ABC):
    """Changes one property of responses and measures the change of their confidences."""

    @abstractmethod
    def __call__(self, study: Study) -> Columns:
        """Measured values of each response, by name; NaN where there is none."""

    @abstractmethod
    def summarize(self, columns: Columns) -> dict[str, Any]:
        """The summary of all responses, in plain values; None where a value is undefined."""


def known_mean(values: Float[Tensor, " N"]) -> float | None:
    """The mean of the values that are not NaN; None if there is none."""
    known = values[~values.isnan()].double()
    return round(float(known.mean()), 6) if len(known) else None


def mean_where(values: Float[Tensor, " N"], claim: Bool[Tensor, " N"]) -> float | None:
    """The mean over the rows where `claim` is True and the value is not NaN; None if there is none."""
    return known_mean(values[claim])


def gap(right: float | None, wrong: float | None) -> float | None:
    """`right - wrong`; None where one is missing."""
    return None if right is None or wrong is None else round(right - wrong, 6)


def known_auroc(confidence: Float[Tensor, " N"], truth: Float[Tensor, " N"]) -> float | None:
    """AUROC over the rows where both are known; None where none is, or all are right or all wrong.

    A response without the confidence is left out, as in every other value of a probe: `counts` says how many are.
    """
    unit = confidence.clamp(0, 1)  # an expectation over levels may exceed 1 by the rounding of float32
    value = auroc(unit.double().cpu().numpy(), truth.double().cpu().numpy(), LeaveOut())
    return None if math.isnan(value) else round(value, 6)


def counts(values: Float[Tensor, " N"]) -> dict[str, int]:
    """How many responses there were, and how many of them the summary uses."""
    return {"asked": len(values), "used": int((~values.isnan()).sum())}
