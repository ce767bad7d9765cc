"""A run's log, and the requests that reach it from outside."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from harness.records.states import StopRequest

Say = Callable[[str], None]
STOP_SECONDS = 0.5  # interval at which the stop file is read


class Log:
    """Appends a run's lines to its log.txt and forwards them."""

    def __init__(self, path: Path, say: Say | None) -> None:
        self.path, self.say = path, say

    def __call__(self, line: str, quiet: bool = False) -> None:
        """Write a line; a quiet one is not forwarded."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")
        if self.say is not None and not quiet:
            self.say(line)


@contextlib.contextmanager
def warnings_in_logs(logs: Callable[[], Iterable[Path]]) -> Iterator[None]:
    """Within the block, warnings of libraries go to logs of runs, each once a run, and not to the terminal.

    They address who calls the library. What a user has to know, the program says in words of its own.

    Args:
        logs: called at each warning, gives the log.txt of each run under way.
    """
    written: set[tuple[Path, str]] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = f"{category.__name__}: {message} ({filename}:{lineno})"
        for path in logs():
            if (path, text) not in written:
                written.add((path, text))
                with contextlib.suppress(OSError):  # a warning is not worth the run
                    Log(path, None)(text)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


class StopFile:
    """Checks every `STOP_SECONDS` for a request to stop the run, and whether this process still owns it."""

    def __init__(self, path: Path, holds: Callable[[], bool] = lambda: True) -> None:
        self.path, self.holds = path, holds
        self.next = 0.0

    def __call__(self) -> StopRequest | None:
        """Return how the run is asked to end; None if it goes on."""
        if time.monotonic() < self.next:
            return None
        self.next = time.monotonic() + STOP_SECONDS
        if not self.holds():
            return StopRequest.TAKEN
        try:
            content = self.path.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        return StopRequest(content) if content in (StopRequest.PRUNE, StopRequest.CHECKPOINT) else None
