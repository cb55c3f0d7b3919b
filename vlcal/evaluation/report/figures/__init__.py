"""The figures of a report: SVG in the colours of the page, each with the numbers behind it."""

from vlcal.evaluation.report.figures.confidence import (
    RIGHT_WRONG,
    VISUAL_REASONING,
    histogram_figure,
    plane_figure,
    reliability_figure,
)
from vlcal.evaluation.report.figures.curves import corruption_figure, coverage_figure, forest_figure

__all__ = [
    "RIGHT_WRONG",
    "VISUAL_REASONING",
    "corruption_figure",
    "coverage_figure",
    "forest_figure",
    "histogram_figure",
    "plane_figure",
    "reliability_figure",
]
