"""Whether a wrong answer comes from perception or from reasoning, and which of the two confidences was lower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.metrics.levels import RIGHT
from vlcal.evaluation.report.content import Cell, Figure, Section, Table, count, number
from vlcal.evaluation.report.figures import RIGHT_WRONG, VISUAL_REASONING, plane_figure
from vlcal.evaluation.report.runs import Run

Mask = NDArray[np.bool_]


def plane_section(runs: Sequence[Run]) -> Section | None:
    """The plane of both stated confidences; None where no run states both."""
    placed = [(place, run) for place, run in enumerate(runs) if _placed(run).any()]
    if not placed:
        return None
    figures = [figure for place, run in placed for figure in _figures(run, place)]
    lead = (
        "Each disc stands at a pair of stated confidences: below the dashed line the reasoning confidence is the lower "
        "one, above it the visual confidence. If the lower one names the cause, failures of reasoning lie at the lower "
        "right and failures of perception at the upper left."
    )
    tables = tuple(_table(run) for _, run in placed)
    return Section("plane", "Visual and reasoning confidence", lead, tuple(figures), tables, columns=2)


def _placed(run: Run) -> Mask:
    """Responses that state both confidences and whose answer was verified."""
    return ~np.isnan(run.column("visual") + run.column("reasoning") + run.column("correct"))


def _figures(run: Run, place: int) -> list[Figure]:
    placed, right = _placed(run), run.column("correct") >= RIGHT
    visual, reasoning = run.column("visual"), run.column("reasoning")
    halves = [("right answer", placed & right), ("wrong answer", placed & ~right)]
    figures = [plane_figure(visual, reasoning, halves, RIGHT_WRONG, place, f"{run.name}, all responses")]
    perceived, reasoned = run.column("perception_correct"), run.column("reasoning_correct")
    known = placed & ~right & ~np.isnan(perceived + reasoned)
    if known.any():
        halves = [("misread", known & (perceived < RIGHT)), ("read correctly", known & (perceived >= RIGHT))]
        caption = f"{run.name}, wrong answers by cause"
        figures.append(plane_figure(visual, reasoning, halves, VISUAL_REASONING, place, caption))
    return figures


def _table(run: Run) -> Table:
    visual, reasoning, overall = (run.column(name) for name in ("visual", "reasoning", "overall"))
    lower = (visual < reasoning, visual > reasoning, visual == reasoning)
    total = _placed(run).sum()
    rows = []
    for name, chosen in _causes(run).items():
        if not chosen.any():
            continue
        means = [Cell(number(float(column[chosen].mean()))) for column in (visual, reasoning, overall)]
        shares = [Cell(number(float(mask[chosen].mean()))) for mask in lower]
        rows.append((Cell(name), Cell(count(chosen.sum()), f"{chosen.sum() / total:.1%}"), *means, *shares))
    head = ("responses with", "number", "mean visual", "mean reasoning", "mean overall")
    return Table(
        f"Causes of wrong answers in {run.name}, and the share of responses whose visual or reasoning confidence is "
        "the lower one",
        (*head, "visual lower", "reasoning lower", "equal"),
        tuple(rows),
    )


def _causes(run: Run) -> Mapping[str, Mask]:
    placed, right = _placed(run), run.column("correct") >= RIGHT
    perceived, reasoned = run.column("perception_correct"), run.column("reasoning_correct")
    wrong = placed & ~right
    known = wrong & ~np.isnan(perceived + reasoned)
    return {
        "a right answer": placed & right,
        "a wrong answer": wrong,
        "wrong: perception only": known & (perceived < RIGHT) & (reasoned >= RIGHT),
        "wrong: reasoning only": known & (perceived >= RIGHT) & (reasoned < RIGHT),
        "wrong: both": known & (perceived < RIGHT) & (reasoned < RIGHT),
        "wrong: neither": known & (perceived >= RIGHT) & (reasoned >= RIGHT),
    }
