"""The visual x reasoning plane: what a response states of its seeing and of its thinking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.report.content import Cell, Figure, Table
from vlcal.evaluation.report.figures.theme import ACCENT, INK, SOFT, WRONG, calm, canvas, svg_of

Mask = NDArray[np.bool_]
STEPS = 10  # cells of a tenth, which is what the grammar can state


def plane_figure(
    visual: NDArray[np.float64],
    reasoning: NDArray[np.float64],
    halves: Sequence[tuple[str, Mask]],
    colours: tuple[str, str],
    run: int,
    caption: str,
) -> Figure:
    """A disc per pair of stated confidences; the area of each half is the number of responses of its sort.

    Args:
        visual: Stated visual confidence.
        reasoning: Stated reasoning confidence.
        halves: The two sorts: name and responses; drawn left and right.
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
    ticks = (0, 0.2, 0.4, 0.6, 0.8, 1)
    axes.set(xlim=(-0.07, 1.07), ylim=(-0.07, 1.07), xticks=ticks, yticks=ticks, aspect="equal")
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


RIGHT_WRONG = (ACCENT, WRONG)
SEEING_THINKING = (WRONG, INK)


def _cells(visual: NDArray[np.float64], reasoning: NDArray[np.float64]) -> NDArray[np.int64]:
    places = np.floor(np.stack([visual, reasoning]) * STEPS + 0.5).astype(np.int64)
    cells = np.zeros((STEPS + 1, STEPS + 1), np.int64)
    np.add.at(cells, (places[0], places[1]), 1)
    return cells


def _draw_halves(axes: object, counts: Sequence[NDArray[np.int64]], colours: tuple[str, str], most: int) -> None:
    from matplotlib.axes import Axes
    from matplotlib.patches import Wedge

    assert isinstance(axes, Axes)
    for count, start, colour in zip(counts, (90, 270), colours, strict=True):
        for x, y in np.argwhere(count > 0):
            radius = 0.5 / STEPS * float(np.sqrt(count[x, y] / most))
            half = Wedge((x / STEPS, y / STEPS), max(radius, 0.004), start, start + 180, color=colour, linewidth=0)
            axes.add_patch(half)
