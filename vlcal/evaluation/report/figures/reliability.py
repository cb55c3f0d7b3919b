"""Reliability diagrams: how often a response is right that states so much."""

from __future__ import annotations

from vlcal.evaluation.metrics import Judged, reliability_curve
from vlcal.evaluation.report.content import Cell, Figure, Table
from vlcal.evaluation.report.figures.theme import ACCENT, RULE, SOFT, calm, canvas, name_of, svg_of


def reliability_figure(judged: Judged, run: int, caption: str, note: str) -> Figure:
    """Share right in ten bins of equal width with Wilson intervals, and the number of responses underneath."""
    curve = reliability_curve(judged.confidence, judged.correct)
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


_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
