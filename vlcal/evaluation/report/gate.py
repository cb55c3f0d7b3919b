"""A limit that a metric must keep, for continuous integration."""

from __future__ import annotations

import math
import re
from difflib import get_close_matches

from vlcal.errors import UserError
from vlcal.evaluation.metrics import METRICS
from vlcal.evaluation.report.scored import Comparison

RULE = re.compile(r"\s*(?:(?P<kind>\w+)\.)?(?P<metric>\w+)\s*(?P<sign><=|>=)\s*(?P<limit>\S+)\s*")
SHORT = {"ece": "ece_equal_width"}  # as training logs it


class Gate:
    """A limit on one metric of one kind of confidence, kept by every file.

    Args:
        rule: `METRIC<=LIMIT` or `METRIC>=LIMIT`, of the overall confidence; `visual.METRIC` and `reasoning.METRIC` for
            the others. `ece` is `ece_equal_width`.

    Raises:
        UserError: If it is no such rule.
    """

    def __init__(self, rule: str) -> None:
        parsed = RULE.fullmatch(rule)
        try:
            self.limit = math.nan if parsed is None else float(parsed["limit"])
        except ValueError:
            self.limit = math.nan
        if parsed is None or math.isnan(self.limit):
            raise UserError(f"`gate` must be METRIC<=LIMIT or METRIC>=LIMIT, such as ece<=0.05; got {rule!r}.")
        self.kind, self.sign = parsed["kind"] or "overall", parsed["sign"]
        self.metric = SHORT.get(parsed["metric"], parsed["metric"])
        if self.metric not in METRICS:
            likely = "".join(f", did you mean {name}?" for name in get_close_matches(self.metric, METRICS, n=1))
            raise UserError(f"`gate` must name one of {', '.join(METRICS)}; got {self.metric!r}{likely}")

    def check(self, comparison: Comparison) -> None:
        """Nothing, if every file keeps the limit.

        Raises:
            UserError: If the value of one is beyond the limit, or undefined; names each.
        """
        missed = []
        for file in comparison.files:
            scored = file.kinds.get(self.kind)
            value = float("nan") if scored is None else scored.table.estimates[self.metric].value
            kept = value <= self.limit if self.sign == "<=" else value >= self.limit  # False where there is no value
            if not kept:
                missed.append(f"{file.name}: {self.kind}.{self.metric} is {value:.4f}, not {self.sign} {self.limit:g}")
        if missed:
            raise UserError(f"`gate` is missed. {'; '.join(missed)}")
