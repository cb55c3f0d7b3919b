"""`vlcal report`: what prediction files say about the confidences in them, to read and to hand on."""

from __future__ import annotations

from pathlib import Path


def report(
    runs: list[Path], output: Path = Path("report"), draws: int = 1000, seed: int = 0, images: int = 1000
) -> None:
    """Write a report about one or several runs as one HTML page, Markdown and CSV.

    Args:
        runs: Prediction files that PredictionWriter wrote, or folders that hold some. The first one is the baseline
            that the others are compared with.
        output: The folder that `report.html`, `report.md` and `report.csv` go to.
        draws: Bootstrap draws of the questions behind each 95 % interval; 0 leaves the intervals out.
        seed: Of the draws.
        images: Most questions whose images go into the page.
    """
    from rich.console import Console

    from vlcal.evaluation.report import load_runs, write_report

    console = Console()
    for path in write_report(load_runs(runs), output, draws, seed, images):
        console.print(f"{path}  {path.stat().st_size / 1e3:,.0f} kB", highlight=False, soft_wrap=True)
