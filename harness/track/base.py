"""What a tracker is told. A new one is a class like these and a YAML in conf/tracker."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import HarnessError


@dataclass(frozen=True)
class Tracked:
    """A run as a tracker sees it.

    Attributes:
        id: 16 hex digits; the same however often the run is interrupted, another when it is made anew (rerun=true).
        name: `<cell>/<run>`.
        record: record.json, as it is now; of its error only what comes before a path.
        config: what the run computes: its configuration without where and how it executes.
    """

    id: str
    name: str
    record: Mapping[str, Any]
    config: Mapping[str, Any]


class Tracker:
    """Takes what a study's files say, run by run. It may raise and may hang: only its own process suffers.

    A run is begun, given its epochs and ended; one that did not end before `close` is begun again by the next process,
    and then given only the epochs that are new.

    Attributes:
        name: as in conf/tracker.
        wait_seconds: that a study waits for it at its end.
        packages: modules that it needs.
        extra: the extra of this program that installs them; None where the program itself brings them.
        surely: options with which `python -m harness.track` makes up for a failure wherever it is typed.
    """

    name: str = ""
    wait_seconds: float = 60.0
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None
    surely: ClassVar[Mapping[str, Any]] = {}

    def check(self) -> None:
        """See whether it could work at all; imports nothing.

        Raises:
            HarnessError: what it needs is not installed.
        """
        if missing := [package for package in self.packages if importlib.util.find_spec(package) is None]:
            what = f"'harness[{self.extra}]'" if self.extra else " ".join(missing)
            raise HarnessError(
                f"tracker={self.name} needs {', '.join(missing)}, which is not installed: pip install {what}."
            )

    def open(self, study: Path) -> None:
        """Begin, before anything else is told. `study` is its directory, absolute."""

    def begin(self, run: Tracked) -> None:
        """A run has started, or goes on."""

    def epoch(self, run: Tracked, number: int, values: Mapping[str, float], seconds: float) -> None:
        """An epoch has ended: `values` by name, e.g. `val/accuracy`; `seconds` of training and evaluation so far."""

    def end(self, run: Tracked, results: Mapping[str, float]) -> None:
        """A run has its result, which `run.record` holds; `results` are its metrics and costs by name."""

    def report(self, directory: Path, digest: str) -> None:
        """The study's report has been written: index.html, table.csv and more; `digest` is of its table."""

    def close(self) -> list[str]:
        """End, in good order; give sentences for the user."""
        return []


def shown(path: Path) -> str:
    """A path as a person would give it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
