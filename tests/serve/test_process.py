"""`harness serve` as a process: it starts, stops without losing a request, and says why it cannot start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from harness.records.run_spec import RunSpec
from harness.serve.__main__ import main

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(cache: Path, tmp_path: Path) -> Iterator[Start]:
    """Start the command on a free port; give the process and its address."""
    begun: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "harness", "serve", *arguments, "--port", "0", "--engine", "torch"]
        process = subprocess.Popen(
            [*command, "--cache-dir", str(cache), "--feedback", str(tmp_path / "feedback")],
            stdout=subprocess.PIPE, stderr=(tmp_path / "stderr").open("w"), text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, cwd=tmp_path,
        )  # fmt: skip
        begun.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Serving on "):
                return process, line.split()[2]
        raise AssertionError((tmp_path / "stderr").read_text())

    yield run
    for process in begun:
        process.kill()
        process.wait()


def test_sigterm_loses_nothing(start: Start, probe: RunSpec, tmp_path: Path) -> None:
    """Under load, every request that was taken before SIGTERM is answered; the process then ends with 0."""
    secret = "a-key-that-nobody-prints"
    process, address = start(str(probe.paths.model), "--drain", "0.5", HARNESS_API_KEYS=f"shop:{secret}")
    answered, refused, lost = [], [], []
    stopping = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=address, headers={"x-api-key": secret}, timeout=60) as client:
            while True:
                try:
                    answer = client.post("/predict", json={"texts": ["my parcel is late"] * 3, "top": 1})
                except httpx.ConnectError:
                    refused.append(1)  # never taken
                    return
                except httpx.HTTPError as error:
                    lost.append(error)
                    return
                answered.append(answer.status_code)
                if stopping.is_set():
                    time.sleep(0.05)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    _until(lambda: len(answered) > 40)
    stopping.set()
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(timeout=60)
    assert process.wait(timeout=60) == 0
    assert not lost and len(refused) == 8 and set(answered) == {200}
    said = (tmp_path / "stderr").read_text()
    assert secret not in said and "Traceback" not in said


def test_what_keeps_it_from_starting_is_told(
    probe: RunSpec, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, before a model is loaded: port, keys, folders, models, limits; a damaged model right after."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").write_text("no colon here")
    (tmp_path / "file").write_text("")
    model = str(probe.paths.model)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        wrong = ["nowhere", f"a b={model}", "--port", port, "--keys", "keys", "--feedback", "file/x"]
        wrong += ["--max-rows", "900"]
        assert main([*wrong, "--cache-dir", str(cache)]) == 2
    said = capsys.readouterr().err
    for part in ("in use", "tenant:key", "--feedback", "nowhere", "cannot be a model's name", "--max-queue 900"):
        assert part in said, part
    assert "no colon here" not in said
    assert {path.name for path in tmp_path.iterdir()} == {"keys", "file"}  # no folder for a service that never began
    cases = [
        ([model, model], "Two models are named"),
        ([model, "--port", "99999"], "no address of this machine"),
        ([model, "--host", "no.such.host.invalid"], "no address of this machine"),
        ([model, "--cell", "x"], "leave --cell out"),
        ([str(tmp_path), "--port", "0"], "is not a saved model"),
        ([model, "--port", "0", "--statistics", "st", "--max-pixels", "0"], "--max-pixels must be above 0"),
        ([model, "--port", "0", "--statistics", "file"], "--statistics file cannot be used (file is a file)"),
    ]
    for arguments, message in cases:
        assert main([*arguments, "--cache-dir", str(cache)]) == 2
        assert message in capsys.readouterr().err, arguments
    assert not {path.name for path in tmp_path.iterdir()} & {"st", "feedback"}
    cut = tmp_path / "cut" / "model"
    shutil.copytree(probe.paths.model, cut)
    (cut / "head.safetensors").write_bytes((cut / "head.safetensors").read_bytes()[:100])
    (cut / "tokenizer.json").write_bytes((cut / "tokenizer.json").read_bytes()[:1000])
    assert main([str(cut), "--port", "0", "--engine", "torch", "--cache-dir", str(cache)]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
