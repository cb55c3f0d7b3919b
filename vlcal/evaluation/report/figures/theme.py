"""Drawings whose colours are CSS variables, so that they follow the page from light to dark."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# What is drawn with, and the variable that stands for it on the page. The values mean nothing; they are found again.
INK, SOFT, RULE, ACCENT, WRONG, SURFACE = "#010201", "#010202", "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {INK: "ink", SOFT: "soft", RULE: "rule", ACCENT: "accent", WRONG: "wrong", SURFACE: "surface"}
_VARIABLES |= {f"#02020{number}": f"run-{number}" for number in range(6)}
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"font: (?:(?P<weight>bold|\d+) )?(?P<size>[\d.]+)px [^;]*;?")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_SVG, _LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
LABEL = 8.0  # points


def name_of(sort: str, caption: str, run: int | None = None) -> str:
    """What makes the ids of a drawing its own: its sort, its run and what stands before the comma of its caption."""
    about = caption.partition(",")[0].replace(" ", "-")
    return f"{sort}-{about}" if run is None else f"{sort}-{run}-{about}"


def run_colour(number: int) -> str:
    """The colour that stands for the accent of a run."""
    return f"#02020{number}"


def canvas(width: float, height: float) -> Canvas:
    """An empty drawing, in inches."""
    from matplotlib.figure import Figure as Canvas

    return Canvas(figsize=(width, height), layout="constrained", facecolor="none")


def calm(axes: Axes, x_label: str = "", y_label: str = "", grid: Literal["x", "y", "both"] = "y") -> None:
    """Take away what is not read: boxes, ticks, heavy grids."""
    axes.set_facecolor("none")
    axes.grid(axis=grid, color=RULE, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=LABEL, length=0, pad=4)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.set_xlabel(x_label, color=SOFT, fontsize=LABEL)
    axes.set_ylabel(y_label, color=SOFT, fontsize=LABEL)


def svg_of(drawing: Canvas, name: str, title: str) -> str:
    """The drawing as an SVG element for a page.

    Args:
        drawing: What was drawn.
        name: Unique on the page; prefixes every id inside.
        title: What a screen reader says.
    """
    import matplotlib as mpl

    ET.register_namespace("", _SVG)
    written = io.BytesIO()
    # Text stays text; the salt makes the same drawing the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "path.simplify": True}):
        drawing.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(written.getvalue())
    _strip(root)
    for element in root.iter():
        _retheme(element, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    heading = ET.Element(f"{{{_SVG}}}title", {"id": f"{name}-title"})
    heading.text = title
    root.insert(0, heading)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title", "focusable": "false"}
    return ET.tostring(root, encoding="unicode")


def _strip(root: ET.Element) -> None:
    """Remove the metadata and the style sheet, which would reach into the page."""
    for child in list(root):
        if child.tag == f"{{{_SVG}}}metadata" or child.find(f"{{{_SVG}}}style") is not None:
            root.remove(child)


def _retheme(element: ET.Element, name: str) -> None:
    attributes = element.attrib
    if "id" in attributes:
        attributes["id"] = f"{name}-{attributes['id']}"
    if _LINK in attributes:
        attributes["href"] = f"#{name}-{attributes.pop(_LINK)[1:]}"
    for key, value in attributes.items():
        coloured = _COLOUR.sub(lambda found: f"var(--{_VARIABLES[found[0]]})", value)
        referred = _REFERENCE.sub(rf"url(#{name}-\1)", coloured)
        attributes[key] = _FONT.sub(_own_font, referred) if key == "style" else referred


def _own_font(found: re.Match[str]) -> str:
    weight = f"font-weight: {found['weight']};" if found["weight"] else ""
    return f"font-size: {found['size']}px;{weight}"
