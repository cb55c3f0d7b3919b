"""What a report comes to, in a sentence per confidence: calibrated or not, better or not, collapsed or not."""

from __future__ import annotations

import math
from collections.abc import Iterator

from vlcal.evaluation.report.content import count, number
from vlcal.evaluation.report.scored import Comparison, Difference, ScoredKind

CALIBRATION, QUALITY = "ece_equal_width", "brier"  # the second is proper, so neither collapse nor hedging improves it
FEW = 2.0  # effective number of stated values, exp of their entropy, from which on they tell answers apart


def verdicts(comparison: Comparison) -> Iterator[str]:
    """A sentence per kind of confidence and run; of several runs without the first, which the others are held against.

    A confidence is called miscalibrated where the interval of its ECE does not contain 0, and better or worse where the
    interval of the difference of its Brier score does not.
    """
    first = comparison.files[0].name
    for kind in comparison.kinds:
        differences = {run: found for run, _, found in comparison.compared(kind)}
        shown = list(comparison.of(kind))
        for run, name, scored in shown[1:] or shown:
            said = [_calibrated(scored)]
            said += [_better(differences[run], first)] if run in differences else []
            said += _collapsed(scored)
            yield f"{kind.capitalize()} confidence of {name}: {'; '.join(said)}."


def _calibrated(scored: ScoredKind) -> str:
    if not scored.stated:
        return "stated in no response"
    found = scored.table.estimates[CALIBRATION]
    if math.isnan(found.low):
        return f"ECE {number(found.value)} without an interval, so calibrated or not is not known"
    off, interval = number(found.value), f"{number(found.low)} to {number(found.high)}"
    if round(found.low, 3) > 0:
        return f"miscalibrated by {off} on average (ECE, {interval})"
    return f"calibrated as far as {count(scored.table.counts.questions)} questions can show (ECE {off}, {interval})"


def _better(difference: Difference, first: str) -> str:
    if not difference.estimates:
        return f"not compared with {first}"
    found = difference.estimates[QUALITY]
    signed = f"Brier {number(found.value, signed=True)}"
    if math.isnan(found.low):
        return f"{signed} beside {first}, without an interval"
    interval = f"{signed}, {number(found.low, signed=True)} to {number(found.high, signed=True)}"
    if found.high < 0:
        return f"better than {first} ({interval})"
    if found.low > 0:
        return f"worse than {first} ({interval})"
    return f"neither better nor worse than {first} ({interval}; detectable {number(found.detectable)})"


def _collapsed(scored: ScoredKind) -> list[str]:
    """That hardly more than one value is stated, whatever the image; nothing where that is not so."""
    distinct, entropy = (scored.table.estimates[name].value for name in ("distinct_values", "value_entropy"))
    if not scored.stated or not (distinct <= FEW or math.exp(entropy) < FEW):
        return []
    values = f"{count(distinct)} distinct value{'' if distinct == 1 else 's'}"
    return [f"collapsed to {values}, as varied as {math.exp(entropy):.1f} equally frequent ones"]
