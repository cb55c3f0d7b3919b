"""What a file states: reliability diagrams, histograms, and the plane of visual and reasoning confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.metrics import ScoredResponses, reliability_curve
from vlcal.evaluation.metrics.levels import RIGHT, Floats
from vlcal.evaluation.report.content import Cell, Figure, Table
from vlcal.evaluation.report.figures.theme import (
    ACCENT,
    INK,
    LABEL,
    RULE,
    SOFT,
    WRONG,
    calm,
    canvas,
    name_of,
    svg_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Mask = NDArray[np.bool_]

RIGHT_WRONG = (ACCENT, WRONG)
VISUAL_REASONING = (WRONG, INK)
NARROWEST = 0.05
STEPS = 10  # cells of a tenth, which is what the grammar can state
_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def reliability_figure(responses: ScoredResponses, run: int, caption: str, note: str) -> Figure:
    """Share right in ten bins of equal width with Wilson intervals, and the number of responses underneath."""
    curve = reliability_curve(responses.confidence, responses.correct)
    drawing = canvas(3.6, 3.8)
    above, below = drawing.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1], "hspace": 0.04})
    calm(above, y_label="share right")
    calm(below, x_label="stated confidence", y_label="responses")
    above.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, dashes=(4, 3), zorder=1)
    above.fill_between(curve.confidence, curve.low, curve.high, color=ACCENT, alpha=0.16, linewidth=0, zorder=2)
    above.vlines(curve.confidence, curve.low, curve.high, color=ACCENT, alpha=0.55, linewidth=1, zorder=3)
    above.plot(curve.confidence, curve.accuracy, color=ACCENT, linewidth=1.6, marker="o", markersize=3.6, zorder=4)
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=_FIFTHS, yticks=_FIFTHS)
    below.bar(curve.confidence, curve.count, width=0.055, color=ACCENT, alpha=0.75, zorder=2)
    below.axhline(0, color=RULE, linewidth=0.8)
    below.locator_params(axis="y", nbins=2, integer=True)
    rows = zip(curve.confidence, curve.accuracy, curve.low, curve.high, curve.count, strict=True)
    numbers = Table(
        f"Bins of {caption}",
        ("mean confidence", "share right", "95 % interval", "responses"),
        tuple(
            (Cell(f"{at:.3f}"), Cell(f"{share:.3f}"), Cell(f"{low:.3f} to {high:.3f}"), Cell(f"{count:.0f}"))
            for at, share, low, high, count in rows
        ),
    )
    name = name_of("reliability", caption, run)
    return Figure(caption, svg_of(drawing, name, f"Reliability diagram: {caption}"), numbers, run, note)


def histogram_figure(responses: ScoredResponses, run: int, caption: str) -> Figure:
    """Right responses above the line, wrong ones below, by stated confidence; absent ones are left out."""
    kept = ~np.isnan(responses.confidence + responses.correct)
    confidence, right = responses.confidence[kept], responses.correct[kept] >= RIGHT
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
    axes.set(xlim=(-0.06, 1.06), ylim=(-most * 1.32, most * 1.32), xticks=_FIFTHS)
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


def bin_edges(confidence: Floats) -> Floats:
    """One bin around each tenth where nothing else is stated; else twenty of equal width, the last with 1.0 too."""
    tenths = np.abs(confidence * 10 - np.round(confidence * 10)) < 1e-6
    if tenths.all():
        return np.linspace(-0.05, 1.05, 12)
    # The nudge keeps a level on an edge in the bin that starts there, however its division was rounded.
    edges = np.linspace(0, 1, round(1 / NARROWEST) + 1) - 1e-9
    edges[-1] = 1.0
    return edges


def plane_figure(
    visual: Floats,
    reasoning: Floats,
    halves: Sequence[tuple[str, Mask]],
    colours: tuple[str, str],
    run: int,
    caption: str,
) -> Figure:
    """A disc per pair of stated confidences; the area of each half is the number of responses in its group.

    Args:
        visual: Stated visual confidence.
        reasoning: Stated reasoning confidence.
        halves: The two groups: name and responses; drawn left and right.
        colours: Of the two halves.
        run: Number of the run.
        caption: What is shown.
    """
    counts = [_cells(visual[chosen], reasoning[chosen]) for _, chosen in halves]
    most = max(1, *(int(count.max()) for count in counts))
    drawing = canvas(4.6, 4.4)
    axes = drawing.subplots()
    calm(axes, "stated visual confidence", "stated reasoning confidence", "both")
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, dashes=(4, 3), zorder=1)
    _draw_halves(axes, counts, colours, most)
    axes.set(xlim=(-0.07, 1.07), ylim=(-0.07, 1.07), xticks=_FIFTHS, yticks=_FIFTHS, aspect="equal")
    numbers = Table(
        f"Responses by stated pair: {caption}",
        ("visual, reasoning", *(name for name, _ in halves)),
        tuple(
            (Cell(f"{x / STEPS:.1f}, {y / STEPS:.1f}"), *(Cell(str(count[x, y])) for count in counts))
            for x, y in np.argwhere(sum(counts) > 0)
        ),
    )
    name = f"plane-{run}-{halves[0][0].replace(' ', '-')}"
    note = f"left half: {halves[0][0]}, right half: {halves[1][0]}; the largest half disc is {most} responses"
    return Figure(caption, svg_of(drawing, name, f"Plane of both confidences: {caption}. {note}"), numbers, run, note)


def _cells(visual: Floats, reasoning: Floats) -> NDArray[np.int64]:
    places = np.floor(np.stack([visual, reasoning]) * STEPS + 0.5).astype(np.int64)
    cells = np.zeros((STEPS + 1, STEPS + 1), np.int64)
    np.add.at(cells, (places[0], places[1]), 1)
    return cells


def _draw_halves(axes: Axes, counts: Sequence[NDArray[np.int64]], colours: tuple[str, str], most: int) -> None:
    from matplotlib.patches import Wedge

    for count, start, colour in zip(counts, (90, 270), colours, strict=True):
        for x, y in np.argwhere(count > 0):
            radius = 0.5 / STEPS * float(np.sqrt(count[x, y] / most))
            half = Wedge((x / STEPS, y / STEPS), max(radius, 0.004), start, start + 180, color=colour, linewidth=0)
            axes.add_patch(half)
