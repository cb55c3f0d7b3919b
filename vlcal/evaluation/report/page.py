"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from vlcal.evaluation.report.content import Section, Table
from vlcal.evaluation.report.samples import CONFIDENT, IMAGE_RULE, UNSURE, Samples
from vlcal.evaluation.report.wording import count

STYLES = ("page.css", "browser.css")
SCRIPTS = ("theme.js", "detail.js", "browser.js")


def page(
    title: str,
    facts: Sequence[str],
    runs: Sequence[str],
    sections: Sequence[Section],
    conventions: Table,
    samples: Samples,
) -> str:
    """The page: whatever the responses hold is escaped, and nothing is fetched."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("vlcal.evaluation.report", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("page.html.j2").render(
        title=title,
        facts=facts,
        runs=runs,
        sections=sections,
        conventions=conventions,
        samples=samples,
        samples_said=samples_said(samples),
        confident=CONFIDENT,
        unsure=UNSURE,
        css="\n".join(_part(name) for name in STYLES),
        scripts=[_part(name) for name in SCRIPTS],
    )


def samples_said(samples: Samples) -> str:
    """Which responses and images the page holds, and by which rule."""
    said = "Every response"
    if samples.kept < samples.responses:
        said = (
            f"{count(samples.kept)} of {count(samples.responses)} responses, to questions evenly spread over the "
            "files, so that the page stays small"
        )
    keys = "Arrow keys move through the list."
    if not samples.pictured:
        return f"{said}. The prediction files name no images that are there. {keys}"
    if samples.pictured == samples.questions:
        return f"{said}, each with the images of its question. {keys}"
    return (
        f"{said}. {count(samples.pictured)} of {count(samples.questions)} questions with images: {IMAGE_RULE}. {keys}"
    )


def _part(name: str) -> str:
    return files("vlcal.evaluation.report").joinpath("page", name).read_text(encoding="utf-8")
