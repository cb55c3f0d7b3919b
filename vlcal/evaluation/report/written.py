"""Writing a report: scored once, then as a page that loads nothing, as Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from vlcal.errors import UserError
from vlcal.evaluation.report.content import Section, count
from vlcal.evaluation.report.renderings import Csv, markdown_report
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.report.samples import CONFIDENT, IMAGE_RULE, UNSURE, Samples, pack_samples
from vlcal.evaluation.report.scored import Bootstrap, Comparison, compare
from vlcal.evaluation.report.sections import all_sections, conventions
from vlcal.evaluation.report.verdict import verdicts
from vlcal.files import write_whole

STYLES = ("page.css", "browser.css")
SCRIPTS = ("theme.js", "detail.js", "browser.js")


def write_report(runs: Sequence[Run], output: Path, how: Bootstrap = Bootstrap(), images: int = 1000) -> list[Path]:
    """Writes `report.html`, `report.md` and `report.csv` into a folder; gives their paths.

    Args:
        runs: What is compared; the first is the baseline.
        output: The folder.
        how: How metrics are estimated.
        images: Most questions whose images go into the page.

    Raises:
        UserError: If no run states a confidence, or a setting is out of range.
    """
    if images < 0:
        raise UserError(f"`images` must be at least 0, which leaves them out; got {images}.")
    comparison = compare([run.outputs for run in runs], how, [run.readouts for run in runs])
    if not any(scored.stated for file in comparison.files for scored in file.kinds.values()):
        raise UserError("`runs` must state a confidence in at least one response; got none. Look at their responses.")
    sections = all_sections(comparison, runs)
    title = f"Confidence of {' and '.join(run.name for run in runs)}"
    facts = [
        f"{count(sum(map(len, runs)))} responses",
        f"confidence: {', '.join(comparison.kinds)}",
        f"baseline: {runs[0].name}" if len(runs) > 1 else "one run",
    ]
    texts = {
        "report.html": page(title, facts, comparison, sections, pack_samples(runs, images)),
        "report.md": markdown_report(title, facts, verdicts(comparison), sections),
        "report.csv": Csv()(comparison),
    }
    for name, text in texts.items():
        write_whole(output / name, text)
    return [output / name for name in texts]


def page(
    title: str, facts: Sequence[str], comparison: Comparison, sections: Sequence[Section], samples: Samples
) -> str:
    """The page: whatever the responses hold is escaped, and nothing is fetched."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("vlcal.evaluation.report", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("page.html.j2").render(
        title=title,
        facts=facts,
        verdicts=list(verdicts(comparison)),
        runs=[file.name for file in comparison.files],
        kinds=comparison.kinds,
        sections=sections,
        conventions=conventions(),
        samples=samples,
        samples_note=samples_note(samples),
        confident=CONFIDENT,
        unsure=UNSURE,
        css="\n".join(_part(name) for name in STYLES),
        scripts=[_part(name) for name in SCRIPTS],
    )


def samples_note(samples: Samples) -> str:
    """Which responses and images the page holds, and by which rule."""
    note = "Every response"
    if samples.kept < samples.responses:
        note = (
            f"{count(samples.kept)} of {count(samples.responses)} responses, to questions evenly spread over the "
            "files, so that the page stays small"
        )
    keys = "Arrow keys move through the list."
    if samples.left_out:
        images = count(len(samples.left_out))
        keys = f"Of the images, {images} could not be shown, the first of them because {samples.left_out[0]}. {keys}"
    if not samples.pictured:
        return f"{note}. The prediction files name no images that are there. {keys}"
    if samples.pictured == samples.questions:
        return f"{note}, each with the images of its question. {keys}"
    return (
        f"{note}. {count(samples.pictured)} of {count(samples.questions)} questions with images: {IMAGE_RULE}. {keys}"
    )


def _part(name: str) -> str:
    return files("vlcal.evaluation.report").joinpath("page", name).read_text(encoding="utf-8")
