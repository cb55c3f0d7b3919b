"""Which failures are seeing and which are thinking, and which of the two was doubted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vlcal.evaluation.report.content import Cell, Figure, Section, Table
from vlcal.evaluation.report.figures import RIGHT_WRONG, SEEING_THINKING, plane_figure
from vlcal.evaluation.report.figures.plane import Mask
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.report.wording import count, number


def plane_section(runs: Sequence[Run]) -> Section | None:
    """The plane of both stated confidences; None where no run states both."""
    placed = [(number, run) for number, run in enumerate(runs) if _placed(run).any()]
    if not placed:
        return None
    figures = [figure for number, run in placed for figure in _figures(run, number)]
    lead = (
        "Each disc stands at a stated pair: below the dashed line a response doubts its reasoning, above its seeing. "
        "A run that knows which of them failed has its failures to the lower right where the reasoning failed, to "
        "the upper left where the seeing did."
    )
    return Section(
        "plane",
        "Seeing and thinking",
        lead,
        tuple(figures),
        tuple(_table(run) for _, run in placed),
        columns=2,
    )


def _placed(run: Run) -> Mask:
    """Responses that state both confidences and whose answer was judged."""
    return ~np.isnan(run.column("visual") + run.column("reasoning") + run.column("correct"))


def _figures(run: Run, number: int) -> list[Figure]:
    placed, right = _placed(run), run.column("correct") >= 0.5
    visual, reasoning = run.column("visual"), run.column("reasoning")
    sorts = [("right answer", placed & right), ("wrong answer", placed & ~right)]
    figures = [plane_figure(visual, reasoning, sorts, RIGHT_WRONG, number, f"{run.name}, all responses")]
    read, reasoned = run.column("read_right"), run.column("reasoned_right")
    known = placed & ~right & ~np.isnan(read + reasoned)
    if known.any():
        causes = [("misread", known & (read < 0.5)), ("read right, reasoned wrong", known & (read >= 0.5))]
        figures.append(
            plane_figure(visual, reasoning, causes, SEEING_THINKING, number, f"{run.name}, failures by cause")
        )
    return figures


def _table(run: Run) -> Table:
    visual, reasoning, overall = (run.column(name) for name in ("visual", "reasoning", "overall"))
    doubts = (visual < reasoning, visual > reasoning, visual == reasoning)
    total = _placed(run).sum()
    rows = []
    for name, chosen in _causes(run).items():
        if not chosen.any():
            continue
        means = [Cell(number(float(column[chosen].mean()))) for column in (visual, reasoning, overall)]
        shares = [Cell(number(float(doubt[chosen].mean()))) for doubt in doubts]
        rows.append((Cell(name), Cell(count(chosen.sum()), f"{chosen.sum() / total:.1%}"), *means, *shares))
    head = ("responses with", "number", "mean visual", "mean reasoning", "mean overall")
    return Table(
        f"What failed in {run.name}, and the share of responses that state less for their seeing, for their reasoning, "
        "or the same for both",
        (*head, "seeing doubted more", "reasoning doubted more", "equal"),
        tuple(rows),
    )


def _causes(run: Run) -> Mapping[str, Mask]:
    placed, right = _placed(run), run.column("correct") >= 0.5
    read, reasoned = run.column("read_right"), run.column("reasoned_right")
    wrong = placed & ~right
    known = wrong & ~np.isnan(read + reasoned)
    return {
        "a right answer": placed & right,
        "a wrong answer": wrong,
        "wrong: misread only": known & (read < 0.5) & (reasoned >= 0.5),
        "wrong: reasoned wrong only": known & (read >= 0.5) & (reasoned < 0.5),
        "wrong: both": known & (read < 0.5) & (reasoned < 0.5),
        "wrong: read and reasoned right": known & (read >= 0.5) & (reasoned >= 0.5),
    }
