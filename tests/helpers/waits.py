"""Waiting for programs: as long as they get on, however slow the machine is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STILL_SECONDS = (
    300.0  # without any progress; starting a process and loading a model takes seconds, a minute on a busy one
)
IGNORED = {"state.json"}  # a coordinator notes there what Slurm says of its jobs, also when nothing happens


class Progress:
    """Whether the files below a directory change.

    Args:
        directory: need not exist yet; None: there are none, and only the time counts.
        still: seconds without a change after which there is no progress any more.
    """

    def __init__(self, directory: Path | None, still: float = STILL_SECONDS) -> None:
        self._directory, self._still = directory, still
        self._seen: object = None
        self._end = time.monotonic() + still

    def check(self, about: str) -> None:
        """Fail if nothing has changed for too long."""
        now = time.monotonic()
        if self._directory is not None and (seen := _state(self._directory)) != self._seen:
            self._seen, self._end = seen, now + self._still
        assert now < self._end, f"no progress for {self._still:.0f} s while waiting for {about}"


def wait_for(
    condition: Callable[[], Any], of: Path | None = None, still: float = STILL_SECONDS, interval: float = 0.2
) -> None:
    """Wait until something is so, as long as the files below `of` change."""
    progress, looked = Progress(of, still), 0.0
    while not condition():
        if time.monotonic() - looked > 2:
            progress.check(getattr(condition, "__name__", "a condition"))
            looked = time.monotonic()
        time.sleep(interval)


def _state(directory: Path) -> frozenset[tuple[str, int]]:
    """Names and times of all files."""
    found = set()
    for folder, _, names in os.walk(directory):  # unlike rglob, it passes over folders that are removed meanwhile
        for name in set(names) - IGNORED:
            path = Path(folder, name)
            try:
                found.add((str(path), path.stat().st_mtime_ns))
            except OSError:  # it was removed meanwhile
                continue
    return frozenset(found)
