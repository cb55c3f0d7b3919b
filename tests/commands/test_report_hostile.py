"""A report over a stranger's predictions shows what they hold as text, and runs none of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from PIL import Image

from vlcal.commands.report import report

HOSTILE = (
    "</script></style></svg><script>owned()</script><img src=x onerror=owned()><a href=javascript:owned()>x</a>"
    "[x](javascript:owned()) ![x](http://x/y.png) <javascript:owned()> \"'><b onclick=owned()> $\\frac{ | `x`"
)
NEVER = ("script", "style", "img", "iframe", "object", "embed", "form", "base", "link", "meta", "svg", "a", "b")


class Elements(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def counts(self) -> Counter[str]:
        return Counter(tag for tag, _ in self.found if tag in NEVER)

    def addresses(self) -> Iterator[str]:
        for _, attributes in self.found:
            yield from (
                attributes[name] or "" for name in ("src", "href", "xlink:href", "action") if name in attributes
            )


def row(number: int, text: str) -> dict[str, Any]:
    texts = dict.fromkeys(("id", "question", "target", "response", "answer"), f"{text}{number}")
    stated = dict.fromkeys(("overall", "visual", "reasoning"), 0.9 - 0.1 * (number % 3))
    right = dict.fromkeys(("correct", "perception_correct", "reasoning_correct"), float(number % 3 > 0))
    shown = [f"{number}.png", f"../{text}", "/etc/passwd", f"javascript:{text}"]
    beside = {
        "vision_tokens": [[text, 0.5]],
        "rewards": {text: 1.0},
        "images": shown,
        "dataset": text + "ab"[number % 2],
    }
    return {**texts, **stated, **right, **beside, text: text}


def reported(folder: Path, text: str) -> Path:
    """The folder of a report over two files in which every text is the given one."""
    folder.mkdir()
    for name in ("before", text.replace("/", "")[:80]):
        rows = [row(number, text) for number in range(12)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
        (folder / f"{name}.probes.json").write_text(json.dumps({text: {text: {text: 0.5}}, "corruption": text}))
        readouts = [{"id": each["id"], f"{text[-60:]}_overall": 0.5} for each in rows]
        (folder / f"{name}.readouts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in readouts))
    for number in range(12):
        Image.new("L", (4, 4)).save(folder / f"{number}.png")
    report([folder], folder / "out", draws=5)
    return folder / "out"


def test_what_a_file_holds_becomes_neither_markup_nor_an_address(tmp_path: Path) -> None:
    harmless, hostile = (reported(tmp_path / name, text) for name, text in (("plain", "a b"), ("hostile", HOSTILE)))

    pages = [Elements((folder / "report.html").read_text(encoding="utf-8")) for folder in (harmless, hostile)]
    assert pages[0].counts() == pages[1].counts()
    assert {*pages[0].addresses()} == {*pages[1].addresses()}
    assert not [name for _, attributes in pages[1].found for name in attributes if name.startswith("on")]

    written = MarkdownIt("commonmark", {"html": True}).enable("table")
    texts = [
        Elements(written.render((folder / "report.md").read_text(encoding="utf-8"))) for folder in (harmless, hostile)
    ]
    assert texts[0].counts() == texts[1].counts() == Counter()
