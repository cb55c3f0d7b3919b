"""Trained confidence beside post-hoc baselines: a point and an interval each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vlcal.evaluation.report.content import Figure, Table
from vlcal.evaluation.report.figures.theme import INK, LABEL, calm, canvas, name_of, run_colour, svg_of
from vlcal.evaluation.table import Estimate

Estimates = Mapping[str, Estimate]


def forest_figure(
    found: Mapping[int, Mapping[str, Estimates]],
    metrics: Sequence[tuple[str, str]],
    caption: str,
    numbers: Table,
) -> Figure:
    """Metrics side by side, a line per readout, every run in its colour; the first readout is what was stated.

    Args:
        found: Run -> readout -> metric -> estimate.
        metrics: Name and label of each metric to draw.
        caption: What is shown.
        numbers: The same as a table.
    """
    readouts = list(dict.fromkeys(name for tables in found.values() for name in tables))
    drawing = canvas(11, len(readouts) * max(0.24, 0.15 * len(found)) + 0.6)
    panels = drawing.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, (metric, label) in zip(panels, metrics, strict=True):
        calm(axes, x_label=label, grid="x")
        for place, (run, tables) in enumerate(found.items()):
            shift = (place - (len(found) - 1) / 2) * 0.6 / len(found)
            for row, readout in enumerate(readouts):
                estimate = tables.get(readout, {}).get(metric)
                if estimate is None or math.isnan(estimate.value):
                    continue
                ends = [estimate.low, estimate.high]
                axes.plot(ends, [row + shift] * 2, color=run_colour(run), linewidth=1.3, alpha=0.6)
                filled = {"markerfacecolor": run_colour(run)} if row == 0 else {"markerfacecolor": "none"}
                axes.plot(estimate.value, row + shift, "o", color=run_colour(run), markersize=4, **filled)
        axes.set_ylim(len(readouts) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=5)
    panels[0].set_yticks(range(len(readouts)), readouts, fontsize=LABEL, color=INK)
    name = name_of("posthoc", caption)
    return Figure(caption, svg_of(drawing, name, f"Stated and post-hoc confidence: {caption}"), numbers)
