"""The page at / in a real browser: it predicts, tells what is right, with the keyboard, on a phone and in the dark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from harness.serve.keys import read_keys
from harness.serve.loaded import Loaded
from tests.report.page.test_browser import CONTRAST
from tests.serve.conftest import Serve


def test_page_predicts_and_stores_feedback(serve: Serve, loaded: Loaded, browser: Browser, tmp_path: Path) -> None:
    """By keyboard alone: a key, a text, its answer, and what is right; nothing is fetched from elsewhere."""
    key = "a-key-for-the-page"
    (tmp_path / "keys").write_text(f"shop:{key}")
    text = "my parcel <b>is</b> late"
    (expected,) = loaded.answers(loaded.predictions([text], None))
    right = "refund" if expected["prediction"] != "refund" else "password"
    with serve({"m": loaded, "other": loaded}, keys=read_keys(tmp_path / "keys")) as running:
        page = browser.new_page()
        requests, messages = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(f"http://127.0.0.1:{running.port}/")
        page.locator("#key").wait_for(state="visible")
        page.keyboard.type(key)
        page.keyboard.press("Tab")
        page.get_by_text("linear_probe on minilm").wait_for()
        page.locator("#text").focus()
        page.keyboard.type(text)
        page.keyboard.press("Control+Enter")
        page.locator("#prediction", has_text=expected["prediction"]).wait_for()
        assert page.locator("#shares tr").count() == 3
        page.locator("#why").press("Enter")
        page.locator("#words span.for, #words span.against").first.wait_for()
        assert page.locator("#words").inner_text() == text
        assert expected["prediction"] in page.locator("#legend").inner_text()
        page.select_option("#right-class", right)
        page.locator("#send").press("Enter")
        page.get_by_text("Stored, thank you.").wait_for()
        page.fill("#text", "   x   ")
        page.locator("#go").click()
        page.locator("#prediction").wait_for()
        page.fill("#text", "a" * 20_001)
        page.locator("#go").click()
        page.locator("#error").get_by_text("20000").wait_for()
        assert not messages
        assert {url.split("/")[2] for url in requests} == {f"127.0.0.1:{running.port}"}
        page.close()
    (row,) = map(json.loads, (tmp_path / "feedback" / "m" / "shop.jsonl").read_text().splitlines())
    assert (row["text"], row["label"], row["predicted"]) == (text, right, expected["prediction"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_on_a_phone(serve: Serve, loaded: Loaded, browser: Browser, scheme: str, tmp_path: Path) -> None:
    """At 360 pixels nothing is cut off or too small to touch, and all texts have contrast, also in the dark."""
    with serve({"m": loaded}) as running:
        page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)  # type: ignore[arg-type] # the names are Playwright's
        page.goto(f"http://127.0.0.1:{running.port}/")
        page.fill("#text", "Where_is_my_very_long_word_" * 12)
        page.locator("#go").click()
        page.locator("#shares tr").first.wait_for()
        page.locator("#why").click()
        page.locator("#reasons").wait_for(state="visible")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert not page.evaluate(CONTRAST)
        for button in page.locator("button:visible, select:visible").all():
            box = button.bounding_box()
            assert box is not None and box["height"] >= 40
        page.screenshot(path=str(tmp_path / f"phone-{scheme}.png"), full_page=True)
        page.close()
