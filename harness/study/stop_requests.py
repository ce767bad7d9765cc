"""Requests to stop a study: signals, and the file that `harness.stop` writes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

POLL_SECONDS = 0.5  # interval at which the stop file, pruning and the live view are checked; results are seen at once


class StopRequests:
    """Ctrl-C once stops cleanly, twice stops now. SIGTERM and the stop file count as the first Ctrl-C.

    Args:
        stop_file: a file whose appearance requests a stop (`python -m harness.stop`).
        leaves: whether SIGTERM and SIGUSR2 end only the coordinator, which comes back later: it is a Slurm job itself,
            and the jobs that it has submitted go on without it.

    Attributes:
        leaving: number of the signal that makes the coordinator leave; None without one.
    """

    def __init__(self, stop_file: Path | None = None, leaves: bool = False) -> None:
        self.leaving: int | None = None
        self._asked = False
        self._stop_file, self._leaves = stop_file, leaves
        self._next = 0.0

    def __call__(self) -> bool:
        """Return whether a stop was requested."""
        if not self._asked and self._stop_file is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + POLL_SECONDS
            self._asked = self._stop_file.exists()
        return self._asked

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the signals within the block."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self._leaves and number != signal.SIGINT:
                self.leaving = number
                return
            if self._asked:
                raise KeyboardInterrupt
            self._asked = True

        numbers = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR2] if self._leaves else []))
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
