"""A server over two studies, one that is finished and one that waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.ui.content import Studies
from harness.ui.reports import Reports
from harness.ui.server import HOST, Server
from tests.report.conftest import Builder
from tests.report.figures.test_figures import METHODS, build

CELL = "banking77.minilm.lora"


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """`first`, with results of three cells and a failed run whose log has markup; `second`, with fewer results."""
    runs = tmp_path / "runs"
    for name, seeds in (("first", 3), ("second <b>", 2)):
        study = Builder(runs / name)
        methods = {method: METHODS[method] for method in ("linear_probe", "lora", "full")}
        build(study, methods, tasks=("banking77",), seeds=seeds, trials=2)
        failed = study.run(CELL, "t9", trial=9, status="failed", error="No module named <i>query</i>")
        failed.with_name("log.txt").write_text(
            "epoch 1\n\x1b[31mred\x1b[0m <script>alert(1)</script>\n", encoding="utf-8"
        )
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    return runs


@pytest.fixture
def server(runs_dir: Path, tmp_path: Path) -> Iterator[Server]:
    """The server, in a thread."""
    studies = Studies(runs_dir)
    running = Server((HOST, 0), studies, Reports(studies, tmp_path / "reports"))
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield running
    running.over = True
    running.shutdown()
    running.server_close()
    thread.join(20)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=server.url, timeout=60) as found:
        yield found
