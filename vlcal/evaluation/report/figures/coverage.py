"""Risk against coverage: what answering only where sure would cost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vlcal.evaluation.metrics import Judged, risk_coverage_curve
from vlcal.evaluation.report.content import Cell, Figure, Table
from vlcal.evaluation.report.figures.theme import calm, canvas, name_of, run_colour, svg_of

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
MOST_POINTS = 400  # a continuous confidence has a threshold per response; the eye has not


def coverage_figure(judged: Mapping[int, Judged], names: Mapping[int, str], caption: str) -> Figure:
    """The share wrong among the surest responses, against how many those are; every run in one drawing."""
    drawing = canvas(3.6, 2.8)
    axes = drawing.subplots()
    calm(axes, x_label="coverage, surest first", y_label="risk: share wrong")
    rows = []
    highest = 0.1
    for run, responses in judged.items():
        curve = risk_coverage_curve(responses.confidence, responses.correct)
        if not len(curve.coverage):
            continue
        shown = np.unique(np.linspace(0, len(curve.coverage) - 1, MOST_POINTS).astype(int))
        marker = "o" if len(curve.coverage) <= 24 else ""
        colour = run_colour(run)
        axes.plot(curve.coverage[shown], curve.risk[shown], color=colour, linewidth=1.6, marker=marker, markersize=2.6)
        highest = max(highest, float(curve.risk[curve.coverage >= SHARES[0] / 2].max()))
        reached = [_at(curve.coverage, curve.risk, share) for share in SHARES]
        rows.append((Cell(names[run]), *(Cell(f"{risk:.3f}", f"at {cover:.2f}") for cover, risk in reached)))
    axes.set(xlim=(-0.02, 1.02), ylim=(0, min(1.02, highest * 1.15)), xticks=(0, 0.2, 0.4, 0.6, 0.8, 1))
    numbers = Table(
        f"Risk of {caption} at the smallest coverage a threshold can reach of at least",
        ("run", *(f"{share:.0%}" for share in SHARES)),
        tuple(rows),
    )
    name = name_of("coverage", caption)
    return Figure(caption, svg_of(drawing, name, f"Risk against coverage: {caption}"), numbers)


def _at(coverage: np.ndarray, risk: np.ndarray, share: float) -> tuple[float, float]:
    """Coverage and risk where a threshold first accepts that share."""
    place = min(int(np.searchsorted(coverage, share - 1e-9)), len(coverage) - 1)
    return float(coverage[place]), float(risk[place])
