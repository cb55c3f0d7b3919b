"""Matplotlib figures: reliability diagrams and tables of completions.

They are made without pyplot, whose registry of open figures and choice of backend are global to the process.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from vlcal.callbacks.completions import ABSENT, COLUMNS, Row, two_decimals
from vlcal.errors import UserError
from vlcal.evaluation.metrics import EqualWidth, Reliability, auroc, reliability_curve
from vlcal.evaluation.metrics.levels import Floats

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACY, OVERCONFIDENT, UNDERCONFIDENT = "#5b8cc9", "#d1495b", "#d98a1f"
INK, SOFT, FAINT = "#2b2d33", "#5a6072", "#b9bec9"
RESPONSE_CHARACTERS = 900
LINE_CHARACTERS = 130
LINE_INCHES, BLOCK_GAP_INCHES, ROW_GAP_INCHES = 0.142, 0.05, 0.3
_PART = re.compile(r"(</\w+>)(?=<[^/]|\\boxed)")  # where a new part begins, a new line makes it readable


def reliability_diagrams(panels: Mapping[str, tuple[Floats, Floats]], binning: EqualWidth = EqualWidth(10)) -> Figure:
    """Accuracy against confidence, with the responses of each bin underneath; one panel beside the other.

    Args:
        panels: For each title a confidence and the outcome it is compared with; absent confidences are counted as
            `WrongAndUnsure` does.
        binning: The bins.

    Raises:
        UserError: If there is no panel, or one without a known outcome.
    """
    from matplotlib.figure import Figure

    if not panels:
        raise UserError("`panels` must hold at least one confidence with its outcome; got none.")
    figure = Figure(figsize=(4.1 * len(panels) + 0.3, 5.3), dpi=130, layout="constrained", facecolor="white")
    grid = figure.subplots(
        2, len(panels), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3.4, 1], "hspace": 0.02}
    )
    for (title, (confidence, correct)), above, below in zip(panels.items(), *grid, strict=True):
        curve = reliability_curve(confidence, correct, binning)
        if not len(curve.count):
            raise UserError(f"`panels` must leave out a confidence without a known outcome; got {title!r} with none.")
        width = 1 / binning.bins
        centres = np.asarray((binning.index(curve.confidence) + 0.5) * width, np.float64)
        _draw_bars(above, curve, centres, width)
        _draw_counts(below, curve, centres, width)
        above.set_title(_metrics(curve, confidence, correct), fontsize=9, color=SOFT, pad=7)
        heading: dict[str, Any] = {"ha": "center", "fontsize": 12, "weight": "bold", "color": INK}
        above.annotate(title, (0.5, 1), (0, 24), "axes fraction", "offset points", **heading)
    grid[0, 0].set_ylabel("accuracy", color=INK)
    grid[1, 0].set_ylabel("responses", color=INK)
    _draw_legend(grid[0, 0])
    return figure


def rendered(figure: Figure) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes, which is visible enough.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph .* missing")
        canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _metrics(curve: Reliability, confidence: Floats, correct: Floats) -> str:
    """What stands above a panel."""
    metrics = [f"ECE {curve.ece:.3f}", f"AUROC {auroc(confidence, correct):.3f}", f"n {curve.count.sum():.0f}"]
    absent = int((np.isnan(confidence) & ~np.isnan(correct)).sum())
    return "  ·  ".join([each for each in metrics if "nan" not in each] + ([f"{absent} absent"] if absent else []))


def _draw_bars(axes: Axes, curve: Reliability, centres: Floats, width: float) -> None:
    """Accuracy as bars, the gap up or down to the mean confidence on top of them."""
    style: dict[str, Any] = {"width": width * 0.9, "linewidth": 0.8, "zorder": 2}
    axes.bar(centres, np.minimum(curve.accuracy, curve.confidence), color=ACCURACY, **style)
    for colour, low, high in (
        (OVERCONFIDENT, curve.accuracy, curve.confidence),
        (UNDERCONFIDENT, curve.confidence, curve.accuracy),
    ):
        gap = high > low
        axes.bar(centres[gap], (high - low)[gap], bottom=low[gap], **_hatched(colour), **style)
    axes.hlines(curve.accuracy, centres - width * 0.45, centres + width * 0.45, color=INK, linewidth=1.8, zorder=4)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=3)
    axes.set_ylim(0, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))
    _plain(axes)


def _hatched(colour: str) -> dict[str, Any]:
    return {"facecolor": f"{colour}40", "edgecolor": colour, "hatch": "////"}


def _draw_legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=INK, linewidth=1.8, label="accuracy"),
        Patch(label="overconfident", **_hatched(OVERCONFIDENT)),
        Patch(label="underconfident", **_hatched(UNDERCONFIDENT)),
    ]
    axes.legend(handles=handles, loc="upper left", fontsize=8, frameon=False, handlelength=1.5, labelcolor=INK)


def _draw_counts(axes: Axes, curve: Reliability, centres: Floats, width: float) -> None:
    axes.bar(centres, curve.count, width=width * 0.9, color=FAINT, zorder=2)
    style: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 7, "color": INK}
    for at, height in zip(centres, curve.count, strict=True):
        axes.annotate(f"{height:.0f}", (at, height), (0, 2), **style)
    axes.set_ylim(0, curve.count.max() * 1.28)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel("stated confidence", color=INK)
    axes.locator_params(axis="y", nbins=3, integer=True)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color="#e6e8ee", linewidth=0.8, zorder=0)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def completion_figure(rows: Sequence[Row], images: Sequence[Float[Tensor, "3 H W"] | None]) -> Figure:
    """Completions below each other, each with its image beside question, response and numbers.

    Raises:
        UserError: If there is no row, or not one image (or None) for each.
    """
    from matplotlib.figure import Figure

    if not rows or len(rows) != len(images):
        raise UserError(
            f"`images` must hold one image or None per row, of at least 1; got {len(images)} for {len(rows)}."
        )
    blocks = [_blocks(row) for row in rows]
    heights = [max(1.6, sum(_inches(text) for text, _ in block)) + ROW_GAP_INCHES for block in blocks]
    figure = Figure(figsize=(11, sum(heights)), dpi=110, facecolor="white")
    top = 0.0
    for block, image, height in zip(blocks, images, heights, strict=True):
        _draw_image(figure, image, top, height)
        _draw_text(figure, block, top)
        top += height
        figure.add_artist(_rule(1 - top / sum(heights)))
    return figure


def _inches(text: str) -> float:
    return LINE_INCHES * (text.count("\n") + 1) + BLOCK_GAP_INCHES


def _rule(at: float) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([0, 1], [at, at], color=FAINT, linewidth=1.0)


def _draw_text(figure: Figure, block: list[tuple[str, str]], top: float) -> None:
    """Lines from `top`, in inches below the upper edge; dollar signs never start mathematics."""
    style: dict[str, Any] = {"family": "monospace", "fontsize": 8, "va": "top", "linespacing": 1.25}
    at = top + ROW_GAP_INCHES / 2
    for text, colour in block:
        figure.text(0.182, 1 - at / figure.get_figheight(), text, color=colour, parse_math=False, **style)
        at += _inches(text)


def _draw_image(figure: Figure, image: Float[Tensor, "3 H W"] | None, top: float, height: float) -> None:
    width, total = figure.get_size_inches()
    low = total - top - (height + 1.6) / 2
    axes = figure.add_axes((0.12 / width, low / total, 1.75 / width, 1.6 / total))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    if image is None:
        axes.text(0.5, 0.5, "no image", ha="center", va="center", fontsize=8, color=SOFT, transform=axes.transAxes)
        return
    pixels = image.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    axes.imshow(pixels, interpolation="nearest" if max(pixels.shape[:2]) <= 128 else "antialiased")


def _blocks(row: Row) -> list[tuple[str, str]]:
    """The text beside an image, each block with its colour."""
    response = row["response"]
    if len(response) > RESPONSE_CHARACTERS:
        response = f"{response[:RESPONSE_CHARACTERS]} … ({len(response)} characters)"
    right = "right" if row["correct"] == 1 else "wrong" if row["correct"] == 0 else two_decimals(row["correct"])
    answer = "no answer" if row["answer"] is None else f"answer {row['answer']}"
    verdict = f"{answer}, target {row['target']}: {right}{'' if row['well_formed'] else ', malformed'}"
    numbers = "   ".join(f"{name} {two_decimals(row[name])}" for name in COLUMNS[1:])
    rewards = "   ".join(f"{name} {two_decimals(value)}" for name, value in row["rewards"].items())
    return [
        (_wrapped(row["question"]), INK),
        (_wrapped(_PART.sub(r"\1\n", response)), SOFT),
        (_wrapped(verdict), ACCURACY if right == "right" else OVERCONFIDENT),
        (_wrapped(numbers), INK),
        (_wrapped(f"reward {two_decimals(row['reward'])} from {rewards}"), INK),
    ]


def _wrapped(text: str) -> str:
    lines = ["".join(mark if mark.isprintable() else " " for mark in line) for line in text.splitlines()]
    filled = [textwrap.fill(line, LINE_CHARACTERS, break_on_hyphens=False) for line in lines]
    return "\n".join(line for line in filled if line) or ABSENT
