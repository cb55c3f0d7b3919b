"""`vlcal report` writes a page that needs nothing but itself, and the same as Markdown and CSV."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from vlcal.commands.report import report

Make = Callable[..., Any]
HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := which(name))), None)
# Waits for the list, uses it by keyboard, and leaves what it saw where `--dump-dom` shows it.
PROBE = """<script>
(async () => {
  while (document.documentElement.dataset.ready !== "true") await new Promise((done) => setTimeout(done, 10));
  const seen = {}, list = document.getElementById("list");
  const press = (key) => list.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const active = () => list.getAttribute("aria-activedescendant");
  const choose = (name) => document.querySelector(`#choices input[value=${name}]`).click();
  const total = () => document.getElementById("status").textContent;
  press("ArrowDown"); seen.down = active();
  press("End"); seen.end = active(); seen.selected = document.getElementById(active()).getAttribute("aria-selected");
  seen.drawn = document.querySelectorAll("[role=option]").length;
  press("Home"); press("ArrowUp"); seen.home = active();
  press("Enter"); seen.focused = document.activeElement.id;
  for (const name of ["sure", "unsure", "unparsed", "misread", "all"]) { choose(name); seen[name] = total(); }
  const search = document.getElementById("search");
  search.value = "picture 3?"; search.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => setTimeout(done, 300));
  seen.search = total();
  seen.tokens = [...document.querySelectorAll("#detail .token")].map((one) => one.className + ":" + one.textContent);
  seen.cards = [...document.querySelectorAll("#detail .card h4")].map((name) => name.textContent);
  document.querySelector(".theme input[value=dark]").click();
  seen.theme = document.documentElement.dataset.theme;
  seen.title = document.title;
  document.documentElement.dataset.seen = JSON.stringify(seen);
})();
</script></body>"""


def rows(count: int, shift: float = 0.0) -> list[dict[str, Any]]:
    """Of ten responses one is confidently wrong, one unsure but right and one unparsed."""
    made = []
    for number in range(count):
        sort = number % 10
        stated = {1: 0.2, 2: None}.get(sort, 0.9 - shift)
        made.append(
            {
                "id": f"q{number}",
                "dataset": "<img src=x onerror=owned()>" if number % 2 else "plain",
                "question": f"What is in picture {number}?",
                "target": HOSTILE if sort == 5 else "7",
                "response": HOSTILE if sort == 2 else "<think><vision>a 7</vision><reasoning>so</reasoning></think>",
                "answer": None if sort == 2 else "7",
                "well_formed": sort != 2,
                "correct": float(sort not in (0, 2)),
                "perception_correct": float(sort != 0),
                "reasoning_correct": 1.0,
                **dict.fromkeys(("overall", "visual", "reasoning"), stated),
                "vision_tokens": None if sort == 2 else [["a ", 0.1], ["7", 0.9]],
            }
        )
    return made


def written(folder: Path, count: int) -> Path:
    for name, shift in (("before", 0.0), ("after", 0.1)):
        lines = "".join(json.dumps(row) + "\n" for row in rows(count, shift))
        (folder / f"{name}.jsonl").write_text(lines)
    return folder


class Ids(HTMLParser):
    """Every id, and every address that is loaded or linked."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                self.addresses.append(value or "")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of two runs."""
    folder = tmp_path_factory.mktemp("report")
    report([written(folder, 20)], folder / "out", draws=20)
    return folder / "out"


def test_the_page_loads_nothing_and_every_id_is_its_own(made: Path) -> None:
    text = (made / "report.html").read_text(encoding="utf-8")
    found = Ids()
    found.feed(text)
    assert len(found.ids) == len(set(found.ids)) > 50
    outside = [each for each in found.addresses if not each.startswith(("#", "data:"))]
    assert outside == ["report.md", "report.csv"]
    assert {each[1:] for each in found.addresses if each.startswith("#")} <= set(found.ids)
    assert "default-src 'none'" in text
    # What responses hold is packed, and set as text when it is shown; what tables hold is escaped.
    assert "<img src=x" not in text and "&lt;img src=x" in text


def test_colours_follow_the_page(made: Path) -> None:
    drawings = re.findall(r"<svg.*?</svg>", (made / "report.html").read_text(), re.DOTALL)
    assert len(drawings) == 3 * 2 + 3 * 2 + 3 + 4 + 3
    for drawing in drawings:
        fixed = set(re.findall(r"#[0-9a-f]{6}\b", drawing))
        assert not fixed, fixed
        assert "var(--" in drawing and 'role="img"' in drawing and "<title" in drawing


def test_markdown_and_csv_hold_the_same_numbers(made: Path) -> None:
    markdown = (made / "report.md").read_text()
    lines = list(csv.DictReader((made / "report.csv").read_text().splitlines()))
    (accuracy,) = [
        line
        for line in lines
        if (line["run"], line["dataset"], line["kind"]) == ("after", "(all)", "overall")
        and (line["readout"], line["metric"]) == ("stated", "accuracy")
    ]
    assert (accuracy["value"], accuracy["difference"], accuracy["responses"]) == ("0.8", "0", "20")
    assert re.search(r"\| accuracy[^|]* \| 0\.800 \(", markdown)
    assert {line["readout"] for line in lines} >= {"stated", "temperature", "isotonic"}
    assert {line["metric"] for line in lines if line["readout"] == "stated"} >= {"ece_equal_width", "auroc", "aurc"}


def test_an_old_file_with_nothing_but_confidence_and_verdict_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "val.jsonl"
    path.write_text('{"correct": 1, "overall": 0.9}\n{"correct": 0, "overall": 0.4}\n')
    report([path], tmp_path / "out", draws=20)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["report.csv", "report.html", "report.md"]
    assert "one run" in (tmp_path / "out" / "report.md").read_text()


def test_what_cannot_be_reported_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "val.jsonl"
    path.write_text('{"correct": 1, "overall": null}\n')
    with pytest.raises(ValueError, match="`runs` must state a confidence in at least one response"):
        report([path], tmp_path / "out")
    with pytest.raises(ValueError, match="`images` must be at least 0.*got -1"):
        report([path], tmp_path / "out", images=-1)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path to open the page in")
@pytest.mark.parametrize("count", [20, 10_000])
def test_the_page_opens_in_a_browser_without_a_console_message(count: int, tmp_path: Path) -> None:
    report([written(tmp_path, count)], tmp_path / "out", draws=10)
    page = tmp_path / "out" / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    dumped = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--enable-logging=stderr", "--virtual-time-budget=60000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    said = [line for line in dumped.stderr.splitlines() if "CONSOLE" in line]
    assert said == []

    class Seen(HTMLParser):
        found: dict[str, Any] = {}  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "html":
                type(self).found = json.loads(dict(attrs)["data-seen"] or "{}")

    Seen().feed(dumped.stdout)
    seen = Seen.found
    assert (seen["down"], seen["end"], seen["home"]) == ("row-1", f"row-{count - 1}", "row-0")
    assert seen["selected"] == "true" and seen["focused"] == "detail"
    assert seen["drawn"] < 40  # whatever the number of responses
    tenth = f"{count // 10:,} of {count:,} responses of after"
    assert [seen[name] for name in ("sure", "unsure", "unparsed", "misread")] == [tenth] * 4
    assert seen["all"] == f"{count:,} of {count:,} responses of after"
    assert seen["search"] == f"1 of {count:,} responses of after"
    assert seen["tokens"] == ["token low:a ", "token high:7"] * 2
    assert seen["cards"] == ["after", "before"]
    assert (seen["theme"], seen["title"]) == ("dark", "Confidence of before and after")
