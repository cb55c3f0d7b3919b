"""The pages of the site: all in its navigation, their links lead somewhere, what they include is there."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "RESULTS.md", *PAGES]
LINK = re.compile(r"\]\(([^)\s]+)\)")
INCLUDE = re.compile(r'^--8<-- "([^":]+)', re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    """Every link that stays within the repository."""
    for page in READ:
        for target in LINK.findall(prose(page)):
            if not target.startswith(("http://", "https://", "mailto:")):
                yield page, target


def documented(page: Path, name: str) -> bool:
    """Whether a page of the Python API documents an object of that full name."""
    packages = re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    for package in packages:
        if name.startswith(f"{package}."):
            first, *rest = name.removeprefix(f"{package}.").split(".")
            found: Any = importlib.import_module(package)
            if first in getattr(found, "__all__", vars(found)):
                return all((found := getattr(found, part, None)) is not None for part in (first, *rest))
    return name in packages


def leads_nowhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return True
    if not anchor or file.suffix != ".md":
        return bool(anchor)
    return anchor not in anchors(file) and not documented(file, anchor)


def test_every_link_leads_to_a_file_and_a_heading_or_an_object_on_it() -> None:
    found = [*links()]

    assert len(found) > 150
    assert [f"{page.relative_to(ROOT)}: {target}" for page, target in found if leads_nowhere(page, target)] == []


def site() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return config


def listed(items: list[Any]) -> Iterator[str]:
    """The pages of a navigation."""
    for item in items:
        for value in item.values():
            yield from listed(value) if isinstance(value, list) else (value,)


def test_the_navigation_lists_every_page_once_and_nothing_else() -> None:
    outside = "benchmarks/RESULTS.md"  # which pages link to
    pages = [page.relative_to(DOCS).as_posix() for page in PAGES]

    assert sorted(listed(site()["nav"])) == sorted([*pages, outside])


def test_nothing_is_fetched_while_a_page_is_viewed() -> None:
    config = site()

    assert config["theme"]["font"] is False
    assert all((DOCS / path).is_file() for path in config["extra_css"])
    assert "offline" not in config["plugins"]  # it takes a script from a server


def test_what_a_page_includes_is_there() -> None:
    found = [name for page in PAGES for name in INCLUDE.findall(page.read_text(encoding="utf-8"))]

    assert found and [name for name in found if not (DOCS / "examples" / name).is_file()] == []
    own = {path.name for path in (DOCS / "examples").iterdir() if path.is_file()}
    assert own <= set(found)


def test_every_object_of_the_python_api_is_on_one_page() -> None:
    packages = [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)]

    assert len(packages) == len(set(packages)) > 15
    for package in packages:
        importlib.import_module(package)
