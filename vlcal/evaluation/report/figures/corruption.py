"""Corruption curves: confidence must fall with accuracy as an image is spoiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlcal.evaluation.report.content import Cell, Figure, Table
from vlcal.evaluation.report.figures.theme import ACCENT, INK, LABEL, SOFT, calm, canvas, svg_of
from vlcal.evaluation.report.wording import plain_cell

# Each line with its colour and its dashes: told apart without colour too.
LINES: dict[str, tuple[str, Any]] = {
    "accuracy": (INK, "-"),
    "read_rate": (INK, (0, (4, 1.6))),
    "overall": (ACCENT, "-"),
    "visual": (ACCENT, (0, (4, 1.6))),
    "reasoning": (ACCENT, (0, (1, 1.6))),
}


def corruption_figure(curve: Mapping[str, Any], run: int, name: str) -> Figure:
    """Accuracy and mean confidences of one run over severities.

    Raises:
        ValueError: If the lines are not as long as the severities.
    """
    severity = curve["severity"]
    lines = {line: values for line, values in curve.items() if isinstance(values, list) and line != "severity"}
    for line, values in lines.items():
        if len(values) != len(severity):
            raise ValueError(
                f"`{line}` of the corruption probe must hold one figure per severity, {len(severity)}; got "
                f"{len(values)}."
            )
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
