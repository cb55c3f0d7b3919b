"""Results of whole runs: risk against coverage, baselines as intervals, and confidence under corruption."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlcal.errors import UserError
from vlcal.evaluation.metrics import ScoredResponses, risk_coverage_curve
from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.report.content import Cell, Figure, Table, plain_cell
from vlcal.evaluation.report.figures.theme import ACCENT, INK, LABEL, SOFT, calm, canvas, name_of, run_colour, svg_of
from vlcal.evaluation.report.scored import Estimates

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
MOST_POINTS = 400  # a continuous confidence has a threshold per response, more than can be seen
# Each line of the corruption curve with its colour and its dashes: distinct without colour too.
LINES: dict[str, tuple[str, Any]] = {
    "accuracy": (INK, "-"),
    "read_rate": (INK, (0, (4, 1.6))),
    "overall": (ACCENT, "-"),
    "visual": (ACCENT, (0, (4, 1.6))),
    "reasoning": (ACCENT, (0, (1, 1.6))),
}


def coverage_figure(responses: Mapping[int, ScoredResponses], names: Mapping[int, str], caption: str) -> Figure:
    """The share wrong among the most confident responses, against their share; every run in one drawing."""
    drawing = canvas(3.6, 2.8)
    axes = drawing.subplots()
    calm(axes, x_label="coverage, most confident first", y_label="risk: share wrong")
    rows = []
    highest = 0.1
    for run, given in responses.items():
        curve = risk_coverage_curve(given.confidence, given.correct)
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


def forest_figure(
    runs: Mapping[int, Mapping[str, Estimates]],
    metrics: Sequence[tuple[str, str]],
    caption: str,
    numbers: Table,
) -> Figure:
    """Metrics side by side, a line per readout, every run in its colour; the first readout is what was stated.

    Args:
        runs: Run -> readout -> metric -> estimate.
        metrics: Name and label of each metric to draw.
        caption: What is shown.
        numbers: The same as a table.
    """
    readouts = list(dict.fromkeys(name for tables in runs.values() for name in tables))
    drawing = canvas(11, len(readouts) * max(0.24, 0.15 * len(runs)) + 0.6)
    panels = drawing.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, (metric, label) in zip(panels, metrics, strict=True):
        calm(axes, x_label=label, grid="x")
        for place, (run, tables) in enumerate(runs.items()):
            shift = (place - (len(runs) - 1) / 2) * 0.6 / len(runs)
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


def corruption_figure(curve: Mapping[str, Any], run: int, name: str) -> Figure:
    """Accuracy and mean confidences of one run over severities.

    Raises:
        UserError: If the lines are not as long as the severities, or hold something else than numbers.
    """
    severity = curve["severity"]
    lines = {line: values for line, values in curve.items() if isinstance(values, list) and line != "severity"}
    for line, values in lines.items():
        if len(values) != len(severity):
            raise UserError(
                f"`{line}` of the corruption probe must hold one figure per severity, {len(severity)}; got "
                f"{len(values)}."
            )
    figures = [*severity, *(value for values in lines.values() for value in values if value is not None)]
    if wrong := [value for value in figures if not isinstance(value, int | float)]:
        raise UserError(f"the corruption probe must hold numbers; got {wrong[0]!r:.80}.")
    drawing = canvas(4.6, 3.2)
    axes = drawing.subplots()
    calm(axes, "severity of the corruption", "share right, mean confidence")
    for line, (colour, dashes) in LINES.items():
        known = [(at, y) for at, y in zip(severity, lines.get(line, severity), strict=True) if y is not None]
        if line in lines and known:
            label = line.replace("_", " ")
            axes.plot(*zip(*known, strict=True), color=colour, linestyle=dashes, linewidth=1.6, label=label)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=LABEL, labelcolor=SOFT, ncols=2, loc="lower left", handlelength=2.2)
    numbers = Table(
        f"Corruption of {name}",
        ("severity", *(line.replace("_", " ") for line in lines)),
        tuple(
            (Cell(f"{at:g}"), *(plain_cell(values[row]) for values in lines.values()))
            for row, at in enumerate(severity)
        ),
    )
    return Figure(name, svg_of(drawing, f"corruption-{run}", f"Corruption curve of {name}"), numbers, run)


def _at(coverage: Floats, risk: Floats, share: float) -> tuple[float, float]:
    """Coverage and risk where a threshold first accepts that share."""
    place = min(int(np.searchsorted(coverage, share - 1e-9)), len(coverage) - 1)
    return float(coverage[place]), float(risk[place])
