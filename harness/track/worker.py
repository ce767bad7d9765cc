"""The process of one tracker: told by its standard input what to follow, and by the end of it when to end."""

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

LOOK_SECONDS = 2.0  # between two looks at the study's files
NICE = 10  # runs come first


class Orders:
    """What the study's command says: a line of JSON at the start, a line with the report, then the end."""

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
        """Wait; whether the end has come. A command that was killed may leave the other end open in its workers."""
        return self.over.wait(seconds) or os.getppid() != self.first["parent"]


def main() -> int:
    """Follow until told to end."""
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
    """Hold the tracker's account: the process of a command that was killed may still be ending."""
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
    os._exit(code)  # whatever a tracker's library left running
