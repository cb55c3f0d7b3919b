"""Writing a report: gathered once, then in three formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlcal.evaluation.report.baselines import gather_baselines
from vlcal.evaluation.report.findings import gather
from vlcal.evaluation.report.markdown import markdown
from vlcal.evaluation.report.page import page
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.report.samples import pack_samples
from vlcal.evaluation.report.sections import all_sections, conventions
from vlcal.evaluation.report.sheet import sheet
from vlcal.evaluation.report.wording import count


def write_report(runs: Sequence[Run], output: Path, draws: int = 1000, seed: int = 0, images: int = 1000) -> list[Path]:
    """Writes `report.html`, `report.md` and `report.csv` into a folder; gives their paths.

    Args:
        runs: What is compared; the first is the baseline.
        output: The folder.
        draws: Bootstrap draws behind each interval.
        seed: Of the draws.
        images: Most questions whose images go into the page.

    Raises:
        ValueError: If no run states a confidence, or a setting is out of range.
    """
    if images < 0:
        raise ValueError(f"`images` must be at least 0, which leaves them out; got {images}.")
    kinds = gather(runs, draws, seed)
    if not kinds:
        raise ValueError("`runs` must state a confidence in at least one response; got none. Look at their responses.")
    baselines = gather_baselines(runs, kinds, draws, seed)
    sections = all_sections(runs, kinds, baselines, draws)
    title = f"Confidence of {' and '.join(run.name for run in runs)}"
    facts = [
        f"{count(sum(map(len, runs)))} responses",
        f"confidence: {', '.join(kind.kind.name for kind in kinds)}",
        f"baseline: {runs[0].name}" if len(runs) > 1 else "one run",
    ]
    truths = [(kind.kind.name, "correct" if kind.borrowed else kind.kind.truth) for kind in kinds]
    samples = pack_samples(runs, truths, images)
    written = {
        "report.html": page(title, facts, [run.name for run in runs], sections, conventions(), samples),
        "report.md": markdown(title, facts, sections),
        "report.csv": sheet(runs, kinds, baselines),
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (output / name).write_text(text, encoding="utf-8", newline="\n")
    return [output / name for name in written]
