"""Figures: reliability diagrams and tables of completions.

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

from vlcal.evaluation.completions import ABSENT, COLUMNS, Row, as_figure
from vlcal.evaluation.summary import known_auroc, settled
from vlcal.functional.calibration import Bins, expected_calibration_error, reliability_bins_equal_width

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACY, TOO_SURE, TOO_UNSURE = "#5b8cc9", "#d1495b", "#d98a1f"
INK, SOFT, FAINT = "#2b2d33", "#5a6072", "#b9bec9"
RESPONSE_CHARACTERS = 900
LINE_CHARACTERS = 130
LINE_INCHES, BLOCK_GAP_INCHES, ROW_GAP_INCHES = 0.142, 0.05, 0.3
_PART = re.compile(r"(</\w+>)(?=<[^/]|\\boxed)")  # where a new part begins, a new line makes it readable


def reliability_diagram(
    confidence: Float[Tensor, " N"], correct: Float[Tensor, " N"], title: str, bins: int = 10
) -> Figure:
    """Accuracy against stated confidence, with the number of responses in each bin underneath.

    A row whose truth is NaN is left out; an absent confidence counts as wrong and unsure, as in `summarize`.
    """
    return reliability_diagrams({title: (confidence, correct)}, bins)


def reliability_diagrams(
    panels: Mapping[str, tuple[Float[Tensor, " N"], Float[Tensor, " N"]]], bins: int = 10
) -> Figure:
    """Reliability diagrams side by side: for each title a confidence and the truth it is held against.

    Raises:
        ValueError: If there is no panel, or one whose truth nobody knows.
    """
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("`panels` must hold at least one confidence with its truth; got none.")
    figure = Figure(figsize=(4.1 * len(panels) + 0.3, 5.3), dpi=130, layout="constrained", facecolor="white")
    grid = figure.subplots(
        2, len(panels), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3.4, 1], "hspace": 0.02}
    )
    for column, (title, (confidence, truth)) in enumerate(panels.items()):
        stated, outcome = settled(confidence.detach().float().cpu(), truth.detach().float().cpu())
        if not len(stated):
            raise ValueError(f"`panels` must leave out what nobody knows the truth of; got {title!r} with NaN alone.")
        above, below = grid[0, column], grid[1, column]
        found = reliability_bins_equal_width(stated, outcome, bins)
        _draw_bars(above, found)
        _draw_counts(below, found)
        absent = int(confidence[~truth.isnan()].isnan().sum())
        above.set_title(_figures(found, known_auroc(stated, outcome), absent), fontsize=9, color=SOFT, pad=7)
        above.annotate(
            title,
            (0.5, 1),
            (0, 24),
            "axes fraction",
            "offset points",
            ha="center",
            fontsize=12,
            weight="bold",
            color=INK,
        )
        if column == 0:
            above.set_ylabel("share right", color=INK)
            below.set_ylabel("responses", color=INK)
            _draw_legend(above)
    return figure


def rendered(figure: Figure) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes; that is no news to whoever looks at them.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph .* missing")
        canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _figures(bins: Bins, auroc: float, absent: int) -> str:
    figures = [f"ECE {float(expected_calibration_error(bins)):.3f}", f"n {int(bins.count.sum())}"]
    if not np.isnan(auroc):
        figures.insert(1, f"AUROC {auroc:.3f}")
    if absent:
        figures.append(f"{absent} absent")
    return "  ·  ".join(figures)


def _draw_bars(axes: Axes, bins: Bins) -> None:
    """Accuracy as bars, the gap up or down to the mean confidence on top of them."""
    width = 1 / len(bins.count)
    centres = (np.arange(len(bins.count)) + 0.5) * width
    filled = (bins.count > 0).numpy()
    at, accuracy, confidence = centres[filled], bins.accuracy.numpy()[filled], bins.confidence.numpy()[filled]
    style: dict[str, Any] = {"width": width * 0.9, "linewidth": 0.8, "zorder": 2}
    axes.bar(at, np.minimum(accuracy, confidence), color=ACCURACY, **style)
    for colour, low, high in ((TOO_SURE, accuracy, confidence), (TOO_UNSURE, confidence, accuracy)):
        apart = high > low
        axes.bar(at[apart], (high - low)[apart], bottom=low[apart], **_hatched(colour), **style)
    axes.hlines(accuracy, at - width * 0.45, at + width * 0.45, color=INK, linewidth=1.8, zorder=4)
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
        Line2D([], [], color=INK, linewidth=1.8, label="share right"),
        Patch(label="surer than right", **_hatched(TOO_SURE)),
        Patch(label="righter than sure", **_hatched(TOO_UNSURE)),
    ]
    axes.legend(handles=handles, loc="upper left", fontsize=8, frameon=False, handlelength=1.5, labelcolor=INK)


def _draw_counts(axes: Axes, bins: Bins) -> None:
    width = 1 / len(bins.count)
    centres, count = (np.arange(len(bins.count)) + 0.5) * width, bins.count.numpy()
    axes.bar(centres, count, width=width * 0.9, color=FAINT, zorder=2)
    for at, height in zip(centres, count, strict=True):
        if height:
            axes.annotate(
                f"{height}", (at, height), (0, 2), textcoords="offset points", ha="center", fontsize=7, color=INK
            )
    axes.set_ylim(0, max(int(count.max()), 1) * 1.28)
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
    """Completions below each other, each with its image beside question, response and figures.

    Raises:
        ValueError: If there is no row, or not one image (or None) for each.
    """
    from matplotlib.figure import Figure

    if not rows or len(rows) != len(images):
        raise ValueError(
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
    """Lines from `top`, in inches below the upper edge; never as mathematics, whatever dollars they hold."""
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
    """What stands beside an image, each block with its colour."""
    response = row["response"]
    if len(response) > RESPONSE_CHARACTERS:
        response = f"{response[:RESPONSE_CHARACTERS]} … ({len(response)} characters)"
    right = "right" if row["correct"] == 1 else "wrong" if row["correct"] == 0 else as_figure(row["correct"])
    answer = "no answer" if row["answer"] is None else f"answer {row['answer']}"
    verdict = f"{answer}, target {row['target']}: {right}{'' if row['well_formed'] else ', malformed'}"
    figures = "   ".join(f"{name} {as_figure(row[name])}" for name in COLUMNS[1:])
    rewards = "   ".join(f"{name} {as_figure(value)}" for name, value in row["rewards"].items())
    return [
        (_wrapped(row["question"]), INK),
        (_wrapped(_PART.sub(r"\1\n", response)), SOFT),
        (_wrapped(verdict), ACCURACY if right == "right" else TOO_SURE),
        (_wrapped(figures), INK),
        (_wrapped(f"reward {as_figure(row['reward'])} from {rewards}"), INK),
    ]


def _wrapped(text: str) -> str:
    lines = ["".join(mark if mark.isprintable() else " " for mark in line) for line in text.splitlines()]
    filled = [textwrap.fill(line, LINE_CHARACTERS, break_on_hyphens=False) for line in lines]
    return "\n".join(line for line in filled if line) or ABSENT
