"""optuna-dashboard opens a study's journal, in a real browser."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
from playwright.sync_api import expect, sync_playwright

from harness.search.storage import open_storage

COMMAND = Path(sys.executable).with_name("optuna-dashboard")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_it_shows_the_cells_of_a_study_and_their_trials(tmp_path: Path) -> None:
    """Each cell is one of its studies; a trial's hyperparameters and score are on its page."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("chromium is not installed")
    storage = open_storage(None, tmp_path, lambda line: None)
    study = optuna.create_study(storage=storage, study_name="support/demo.minilm.lora", direction="maximize")
    for score in (0.71, 0.83):
        trial = study.ask({"train.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)})
        study.tell(trial, score)
    port = free_port()
    served = subprocess.Popen([str(COMMAND), str(tmp_path / "study.journal"), "--port", str(port), "--quiet"])
    try:
        for _ in range(300):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5):
                break
            time.sleep(0.2)
        with sync_playwright() as playwright:
            page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
            page.goto(f"http://127.0.0.1:{port}/dashboard", timeout=60_000)
            expect(page.get_by_text("support/demo.minilm.lora").first).to_be_visible(timeout=60_000)
            page.goto(f"http://127.0.0.1:{port}/dashboard/studies/0/trials", timeout=60_000)
            expect(page.get_by_text("train.lr").first).to_be_visible(timeout=60_000)
            page.get_by_text("Trial 1").first.click()
            expect(page.get_by_text("0.83").first).to_be_visible(timeout=60_000)
    finally:
        served.kill()
        served.wait()
