"""Histograms of stated confidence: right responses up, wrong ones down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.metrics import Judged
from vlcal.evaluation.report.content import Cell, Figure, Table
from vlcal.evaluation.report.figures.theme import ACCENT, LABEL, RULE, SOFT, WRONG, calm, canvas, name_of, svg_of

NARROWEST = 0.05


def histogram_figure(judged: Judged, run: int, caption: str) -> Figure:
    """How many right and how many wrong responses state so much; absent confidences are left out."""
    kept = ~np.isnan(judged.confidence + judged.correct)
    confidence, right = judged.confidence[kept], judged.correct[kept] >= 0.5
    edges = bin_edges(confidence)
    up, down = (np.histogram(np.clip(confidence[chosen], 0, 1), edges)[0] for chosen in (right, ~right))
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    drawing = canvas(3.6, 2.5)
    axes = drawing.subplots()
    calm(axes, x_label="stated confidence", y_label="responses")
    axes.bar(centres, up, width=width * 0.82, color=ACCENT, zorder=2)
    axes.bar(centres, -down, width=width * 0.82, color=WRONG, zorder=2)
    axes.axhline(0, color=RULE, linewidth=0.8, zorder=3)
    most = max(int(up.max(initial=1)), int(down.max(initial=1)))
    axes.set(xlim=(-0.06, 1.06), ylim=(-most * 1.32, most * 1.32), xticks=(0, 0.2, 0.4, 0.6, 0.8, 1))
    axes.locator_params(axis="y", nbins=5, integer=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    for at, word, side in ((0.98, "right", "top"), (0.02, "wrong", "bottom")):
        axes.text(0.01, at, word, transform=axes.transAxes, fontsize=LABEL, color=SOFT, va=side)
    numbers = Table(
        f"Counts of {caption}",
        ("confidence", "right", "wrong"),
        tuple(
            (Cell(f"{max(low, 0):.2f} to {min(high, 1):.2f}"), Cell(str(more)), Cell(str(less)))
            for low, high, more, less in zip(edges[:-1], edges[1:], up, down, strict=True)
            if more + less
        ),
    )
    name = name_of("histogram", caption, run)
    return Figure(caption, svg_of(drawing, name, f"Histogram of confidence: {caption}"), numbers, run)


def bin_edges(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """One bin around each tenth where nothing else is stated; else twenty of equal width, the last with 1.0 too."""
    tenths = np.abs(confidence * 10 - np.round(confidence * 10)) < 1e-6
    if tenths.all():
        return np.linspace(-0.05, 1.05, 12)
    # The nudge keeps a level on an edge in the bin that starts there, however its division was rounded.
    edges = np.linspace(0, 1, round(1 / NARROWEST) + 1) - 1e-9
    edges[-1] = 1.0
    return edges
