"""Requests to stop a study: signals, and the file that `harness.stop` writes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

POLL_SECONDS = 0.5  # how often pruning and the live view look; results are seen at once


class StopRequests:
    """Ctrl-C, once to stop cleanly, twice to stop now. SIGTERM is taken as the first, and so is a file.

    Args:
        stop_file: a file whose appearance asks for a stop (`python -m harness.stop`).
        leaves: whether SIGTERM and SIGUSR2 mean that only the coordinator goes, and comes back: it is a job itself, and
            the jobs that it has submitted need not stop for it.
    """

    def __init__(self, stop_file: Path | None = None, leaves: bool = False) -> None:
        self.leaving: int | None = None  # the signal that the coordinator goes for
        self._asked = False
        self._stop_file, self._leaves = stop_file, leaves
        self._next = 0.0

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        if not self._asked and self._stop_file is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + POLL_SECONDS
            self._asked = self._stop_file.exists()
        return self._asked

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listen to the signals within the block."""

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
