"""Starts of `python -m harness` from a process that has made its imports, most of what a start costs."""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = (
    "harness.runs.execute", "harness.cli.main", "hydra.main", "optuna", "peft", "pandas", "sklearn.linear_model",
    "matplotlib.figure",
    "transformers.modeling_utils", "transformers.models.bert.modeling_bert",
)  # fmt: skip


class Prepared:
    """A process that forks for every start, as the fork server of the workers does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.prepared_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        atexit.register(self.process.stdin.close)  # no more lines: it ends

    def ask(self, **what: Any) -> Any:
        """Send a line, and give the answer to it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Started:
    """`python -m harness` in a process and a session of its own, with what `subprocess.Popen` tells of one.

    Args:
        arguments: of the program.
        cwd: where it runs.
        env: its whole environment.
    """

    def __init__(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        handle, self.printed = tempfile.mkstemp(prefix="printed-")
        os.close(handle)
        self.returncode: int | None = None
        self.pid: int = _prepared().ask(start=list(arguments), cwd=str(cwd), env=dict(env), printed=self.printed)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = _prepared().ask(wait=self.pid)
        return self.returncode

    def communicate(self, timeout: float = 600) -> tuple[str, None]:
        """Wait for the end, and give everything that it printed; of seconds, at most `timeout`."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("python -m harness", timeout)
            time.sleep(0.02)
        printed = Path(self.printed).read_text(encoding="utf-8", errors="replace")
        Path(self.printed).unlink()
        return printed, None

    def kill(self) -> None:
        """End it, where it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


@functools.cache
def _prepared() -> Prepared:
    return Prepared()


def _serve() -> None:
    """Answer lines until there are no more; a fork leaves with what it is asked to start."""
    for module in IMPORTS:
        importlib.import_module(module)
    gc.freeze()
    running: set[int] = set()
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if "wait" in asked:
            pid, status = os.waitpid(asked["wait"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
            running.discard(pid)
        elif (answer := os.fork()) == 0:
            _become(asked)
            return
        else:
            running.add(answer)
        print(json.dumps(answer), flush=True)
    for pid in running:  # of a test that failed
        os.killpg(pid, signal.SIGKILL)


def _become(asked: Mapping[str, Any]) -> None:
    os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    nothing, printed = os.open(os.devnull, os.O_RDONLY), os.open(asked["printed"], os.O_WRONLY | os.O_APPEND)
    for source, target in ((nothing, 0), (printed, 1), (printed, 2)):
        os.dup2(source, target)
        if source > 2:
            os.set_inheritable(target, True)
    sys.path[0] = asked["cwd"]
    sys.argv = ["harness", *asked["start"]]
    runpy.run_module("harness", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
