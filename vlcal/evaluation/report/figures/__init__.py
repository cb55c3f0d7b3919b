"""The figures of a report: SVG in the colours of the page, each with the numbers behind it."""

from vlcal.evaluation.report.figures.corruption import corruption_figure
from vlcal.evaluation.report.figures.coverage import coverage_figure
from vlcal.evaluation.report.figures.forest import forest_figure
from vlcal.evaluation.report.figures.histogram import histogram_figure
from vlcal.evaluation.report.figures.plane import RIGHT_WRONG, SEEING_THINKING, plane_figure
from vlcal.evaluation.report.figures.reliability import reliability_figure

__all__ = [
    "RIGHT_WRONG",
    "SEEING_THINKING",
    "corruption_figure",
    "coverage_figure",
    "forest_figure",
    "histogram_figure",
    "plane_figure",
    "reliability_figure",
]
