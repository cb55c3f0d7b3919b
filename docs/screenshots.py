"""Make the pictures of the documentation anew: the report and the local page, in a real browser.

    pip install playwright
    vlcal report runs/demo --output runs/demo/report
    vlcal ui runs/demo &
    python docs/screenshots.py --report runs/demo/report/report.html --page http://127.0.0.1:8765

Chromium is the one of the system, by --browser. Each picture is refused where its page is wider than the window.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 120_000  # milliseconds; a slow processor answers in some of them


def main() -> None:
    """Write report.png, ui.png and ui-phone.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="the report.html of a run")
    parser.add_argument("--page", help="address of the page that `vlcal ui` serves")
    parser.add_argument("--browser", default="/usr/bin/chromium", help="executable of Chromium")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.browser, args=["--no-sandbox"])
        if given.report is not None:
            report(browser, given.report, given.folder)
        if given.page is not None:
            local_page(browser, given.page, given.folder)
        browser.close()


def report(browser: Browser, path: Path, folder: Path) -> None:
    """The confidently wrong responses of a report at the width of a desk; it must fit a phone too."""
    for window in (PHONE, DESKTOP):
        page = browser.new_page(viewport=window, color_scheme="light")
        page.goto(path.resolve().as_uri())
        page.get_by_text("Confidently wrong").first.click(timeout=PATIENCE)
        page.wait_for_selector("#detail *", timeout=PATIENCE)
        refuse_too_wide(page, f"report at {window['width']} pixels")
    page.locator("#responses").screenshot(path=folder / "report.png")


def local_page(browser: Browser, address: str, folder: Path) -> None:
    """The local page with a reading of its own at the width of a phone, and with an altered one at that of a desk."""
    for name, window in (("ui-phone", PHONE), ("ui", DESKTOP)):
        page = browser.new_page(viewport=window, color_scheme="light")
        page.goto(address)
        answered(page)
        reading = page.input_value("#reading")
        if name == "ui":
            page.fill("#reading", f"{(int(reading[0]) + 5) % 10}{reading[1:]}")
            page.click("#alter button:not(.quiet)")
            page.wait_for_selector("#change:not(:empty)", timeout=PATIENCE)
        refuse_too_wide(page, name)
        page.screenshot(path=folder / f"{name}.png", full_page=True)


def answered(page: Page) -> None:
    """Wait until the page shows a response."""
    page.wait_for_selector("#response span", timeout=PATIENCE)


def refuse_too_wide(page: Page, name: str) -> None:
    """Refuse a page that is wider than its window."""
    too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if too_wide > 0:
        raise RuntimeError(f"{name}: the page is {too_wide} pixels wider than the window")


if __name__ == "__main__":
    main()
