"""`vlcal report`: the confidences in prediction files as a page to read, Markdown and CSV."""

from __future__ import annotations

from pathlib import Path


def report(
    runs: list[Path], output: Path = Path("report"), draws: int = 1000, seed: int = 0, images: int = 1000
) -> None:
    """Write a report about one or several runs as one HTML page, Markdown and CSV.

    Args:
        runs: Prediction files that PredictionWriter wrote, or folders that hold some; also any other file that
            `vlcal score` reads without options, with confidences from 0 to 1. The first one is the baseline that the
            others are compared with.
        output: The folder that `report.html`, `report.md` and `report.csv` go to.
        draws: Bootstrap draws of the questions behind each 95 % interval; 0 leaves the intervals out.
        seed: Of the draws and of the folds of the post-hoc baselines.
        images: Most questions whose images go into the page.
    """
    from rich.console import Console

    from vlcal.evaluation.report.runs import load_runs
    from vlcal.evaluation.report.scored import Bootstrap
    from vlcal.evaluation.report.written import write_report

    console = Console()
    for path in write_report(load_runs(runs), output, Bootstrap(draws, seed), images):
        console.print(f"{path}  {path.stat().st_size / 1e3:,.0f} kB", highlight=False, soft_wrap=True)
