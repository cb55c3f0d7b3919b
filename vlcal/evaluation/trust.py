"""The figures that say whether a confidence judges this response, by the names of a summary."""

from __future__ import annotations

from collections.abc import Mapping

LOGGED = {
    "visual_within_auroc": "calibration/visual_within_auroc",
    "visual_ceiling_auroc": "readout/ceiling_visual/auroc",
    "visual_ceiling_within_auroc": "readout/ceiling_visual/within_auroc",
    "reasoning_ceiling_auroc": "readout/ceiling_reasoning/auroc",
    "overall_ceiling_auroc": "readout/ceiling_overall/auroc",
    "altered_auroc": "probe/altered/altered_auroc",
    "altered_fall": "probe/altered/altered_fall",
    "altered_fall_ceiling": "probe/altered/altered_fall_ceiling",
    "altered_fall_on_blank": "probe/altered/altered_fall_on_blank",
    "reasoning_wrong": "calibration/reasoning_wrong",
}
"""Name in a summary -> name in the log behind its stage.

The readout is `ResponseLikelihood` under the name `ceiling`, the probe `AlteredReading` under the name `altered`.
"""


def trust_figures(logged: Mapping[str, float], stage: str = "val") -> dict[str, float | None]:
    """Every figure of `LOGGED`; None where it was not logged.

    >>> trust_figures({"val/probe/altered/altered_auroc": 0.9})["altered_auroc"]
    0.9
    """
    figures = {name: logged.get(f"{stage}/{key}") for name, key in LOGGED.items()}
    return {name: None if value is None else float(value) for name, value in figures.items()}
