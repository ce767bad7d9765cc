"""`harness ui` as a process: it says where it is, and SIGTERM ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx


def test_it_starts_and_stops(tmp_path: Path) -> None:
    """Without any study, and while a page follows the list."""
    command = [sys.executable, "-m", "harness", "ui", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = next(part for part in process.stdout.readline().split() if part.startswith("http"))
    with httpx.stream("GET", f"{url}/api/follow", timeout=60) as answer:
        assert next(answer.iter_lines()).endswith('"studies": []}')
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not list(tmp_path.iterdir())
