"""The process of one tracker. Its standard input says what to follow, and closes when the command ends."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.config.instantiate import build
from harness.config.kinds import kind_of
from harness.errors import HarnessError
from harness.records.files import now
from harness.track.processes import NOTE, WARNING
from harness.track.registry import later
from harness.track.study_follower import Follow, stem

LOOK_SECONDS = 2.0  # interval between two readings of the study's files
NICE = 10  # lower priority than runs


class Orders:
    """Messages of the study's command: one JSON line at the start, optionally one with the report, then end of file."""

    def __init__(self) -> None:
        self.first: dict[str, Any] = json.loads(sys.stdin.readline())
        self.report: Path | None = None
        self.over = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self.report = Path(json.loads(line)["report"])
        self.over.set()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; return whether the command has ended.

        The parent process is checked, too: if it was killed, its workers may still hold the other end of the pipe.
        """
        return self.over.wait(seconds) or os.getppid() != self.first["parent"]


def main() -> int:
    """Follow the study until the command ends."""
    with suppress(OSError):
        os.nice(NICE)
    orders = Orders()
    study, node = Path(orders.first["study"]), orders.first["node"]
    _print(f"--- {os.getpid()} follows from {now()}")
    name = node.get("name", kind_of(node))
    try:
        tracker, only = build(node, orders.first["packages"]), orders.first["only"]
        with _alone(Path(f"{stem(study, tracker.name, only)}.lock"), orders):
            follow = Follow(study, tracker, only)
            follow.look()
            while not orders.wait(LOOK_SECONDS):
                follow.look()
            follow.look()
            if orders.report is not None:
                follow.report(orders.report)
            for sentence in follow.close():
                _print(NOTE + sentence)
    except Exception as error:  # noqa: BLE001 -- the study prints it as a warning
        traceback.print_exc()
        known = isinstance(error, HarnessError)
        reason = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
        _print(f"{WARNING}tracker={name} gave up ({reason}). The study is not affected. {later(study, node)}".rstrip())
        return 1
    return 0


def _alone(path: Path, orders: Orders) -> FileLock:
    """Lock the tracker's log of what was sent; the process of a killed command may still hold it."""
    held = FileLock(path)
    while True:
        try:
            held.acquire(timeout=0.5)
        except Timeout:
            if orders.wait(0.0):
                held.acquire(timeout=10)
                return held
        else:
            return held


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # regardless of threads that a tracker's library left running
