"""What mkdocs does beside its own work: files of the repository that pages link to, llms.txt, doctests as code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.nav import Navigation
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = re.compile(r"\]\(((?:\.\./)*)\.\./((?:benchmarks|configs)/[^)#\s]+)")
# Unmarked in a docstring; Markdown takes it for a quotation.
DOCTEST = re.compile(r"^>>> .*?(?=\n[ \t]*\n|\Z)", re.MULTILINE | re.DOTALL)


class Doctests(griffe.Extension):
    """Marks the examples of docstrings as code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mark those of one object."""
        if obj.docstring is not None:
            obj.docstring.value = DOCTEST.sub(lambda found: f"```pycon\n{found[0]}\n```", obj.docstring.value)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files, with those outside docs/ that a page links to, under their paths in the repository."""
    from mkdocs.structure.files import File

    pages = files.documentation_pages()
    for path in sorted({path for page in pages for _, path in OUTSIDE.findall(page.content_string)}):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page, with links to such files, and from them to pages, as the site has them."""
    return OUTSIDE.sub(r"](\1\2", markdown).replace("](../docs/", "](../")


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """The same navigation; llms.txt lists its pages beside the Markdown that they were made from."""
    from mkdocs.structure.files import File

    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    for section in (item for item in nav.items if item.children):
        lines += ["", f"## {section.title}", ""]
        for link in (child for child in section.children or [] if child.is_page):
            lines.append(f"- [{link.title}]({link.file.src_uri})")  # type: ignore[attr-defined]
    files.append(File.generated(config, "llms.txt", content="\n".join(lines) + "\n"))
    return nav


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The same page; the Markdown it was made from stands beside it."""
    target = Path(config.site_dir) / page.file.src_uri
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page.markdown or "", encoding="utf-8")
    return output
