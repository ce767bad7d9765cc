"""A small trained model, and a real service of it in a thread."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import torch
import uvicorn
from playwright.sync_api import Browser, sync_playwright

from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.execute import execute
from harness.serve.app import Service
from harness.serve.feedback import FeedbackStore
from harness.serve.keys import Keys
from harness.serve.loaded import Loaded
from harness.serve.loading import load_one
from harness.serve.server import Connection, Server, bind
from harness.serve.settings import Settings
from tests.helpers.small_dataset import short_config as config
from tests.helpers.small_dataset import spec, write_rows

OUTSIDE = ("the weather is sunny {}", "rain on day {}", "clouds over town {}", "snow fell in winter {}")


@dataclass
class Running:
    """A service that listens, and a client of it."""

    service: Service
    port: int
    client: httpx.Client
    server: Server

    def post(self, path: str, content: Any, **more: Any) -> httpx.Response:
        return self.client.post(path, json=content, **more)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> RunSpec:
    """A finished run of the linear probe."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("serve")
    planned = spec(config(home, cache, "linear_probe"), home / "runs" / "linear_probe")
    execute(RunBatch((planned,)))
    return planned


@pytest.fixture(scope="session")
def judging(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> RunSpec:
    """A finished run whose task has rows out of scope, and validation rows enough for a threshold."""
    home = tmp_path_factory.mktemp("judging")
    for number, (name, count) in enumerate((("train", 15), ("validation", 60), ("test", 30))):
        path = write_rows(home / f"{name}.csv", count, number)
        beyond = [OUTSIDE[row % 4].format(f"{name} {row}") for row in range(24)]
        table = pd.concat([pd.read_csv(path), pd.DataFrame({"text": beyond, "topic": "weather"})])
        table.to_csv(path, index=False)
    planned = spec(config(home, cache, "linear_probe", task={"oos_label": "weather"}), home / "runs" / "judging")
    execute(RunBatch((planned,)))
    return planned


@pytest.fixture(scope="session")
def loaded(probe: RunSpec, cache: Path) -> Loaded:
    """Its model, loaded by torch."""
    return load_one(probe.paths.model, "cpu", cache, "torch")


Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """A context manager of models, and settings if others than the defaults are wanted, that runs a service."""

    @contextmanager
    def run(models: dict[str, Any], settings: Settings | None = None, keys: Keys | None = None) -> Iterator[Running]:
        limits = settings or Settings(drain=0.0)
        service = Service(models, limits, keys or Keys(), FeedbackStore(tmp_path / "feedback"))
        listener = bind("127.0.0.1", 0)
        protocol = type("Bound", (Connection,), {"header_timeout": limits.header_timeout})
        server = Server(
            uvicorn.Config(service.app, http=protocol, ws="none", lifespan="on", log_config=None, access_log=False),
            service,
        )
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        port = listener.getsockname()[1]
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            client.get("/health")
            yield Running(service, port, client, server)
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()

    return run
