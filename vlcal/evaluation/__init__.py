"""How good the confidences are."""

from vlcal.evaluation.outcomes import Outcomes
from vlcal.evaluation.plots import completion_figure, reliability_diagram, reliability_diagrams, rendered
from vlcal.evaluation.summary import known_auroc, settled, summarize

__all__ = [
    "Outcomes",
    "completion_figure",
    "known_auroc",
    "reliability_diagram",
    "reliability_diagrams",
    "rendered",
    "settled",
    "summarize",
]
