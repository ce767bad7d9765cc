"""The page in a real browser: studies, progress, logs, reports, two compared; on a phone and in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from harness.ui.server import Server
from tests.report.conftest import Builder
from tests.report.page.test_browser import CONTRAST
from tests.ui.conftest import CELL


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, the system's own."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


def test_a_way_through_the_page(server: Server, browser: Browser, runs_dir: Path) -> None:
    """By keyboard from the list to a study, which changes meanwhile, to a log, and to the report of two."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    asked, messages = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: messages.append(dialog.message))
    page.goto(server.url)
    page.get_by_role("link", name="first", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="first").wait_for()
    page.get_by_text("No module named <i>query</i>").wait_for()
    page.locator("summary", has_text=CELL).first.click()
    page.locator("ul.runs a", has_text="t9").wait_for()
    Builder(runs_dir / "first").run(CELL, "t10", trial=10, status="failed", error="came while the page was open")
    page.get_by_text("came while the page was open").wait_for()
    assert page.locator("ul.runs a", has_text="t9").is_visible()  # what was opened stays open
    page.locator("ul.runs a", has_text="t9").first.click()
    page.locator("pre.log", has_text="<script>alert(1)</script>").wait_for()
    page.get_by_role("link", name="Studies").click()
    compare = page.get_by_role("button", name="Compare")
    assert compare.is_disabled()
    for name in ("first", "second <b>"):
        page.get_by_label(f"compare {name}").check()
    compare.press("Enter")
    page.get_by_role("heading", name="first").first.wait_for()
    assert "/report/" in page.url and not messages
    assert all(url.startswith((server.url, "data:")) for url in asked)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_on_a_phone(server: Server, browser: Browser, scheme: str, tmp_path: Path) -> None:
    """At 360 pixels nothing is cut off or too small to touch, and all texts have contrast, also in the dark."""
    for width in (360, 1280):
        page = browser.new_page(viewport={"width": width, "height": 740}, color_scheme=scheme)  # type: ignore[arg-type] # the names are Playwright's
        page.set_default_timeout(60_000)
        for name, place in (("list", "/"), ("study", "/#/study/first"), ("log", f"/#/log/first/{CELL}/t9")):
            page.goto("about:blank")
            page.goto(f"{server.url}{place}")
            page.locator("table.list, pre.log").first.wait_for()
            page.get_by_text("failed").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (name, width)
            assert not page.evaluate(CONTRAST), (name, width)
            for button in page.locator("button:visible, a.button:visible, summary:visible").all():
                box = button.bounding_box()
                assert box is not None and box["height"] >= 36
            page.screenshot(path=str(tmp_path / f"{name}-{width}-{scheme}.png"), full_page=True)
        page.close()
