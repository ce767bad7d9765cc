"""Interface of trackers. To add one, write a subclass of `Tracker` and a YAML in conf/tracker."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import HarnessError


@dataclass(frozen=True)
class Tracked:
    """A run as trackers see it.

    Attributes:
        id: 16 hex digits; stays the same when the run is interrupted, changes when it is executed again (rerun=true).
        name: `<cell>/<run>`.
        record: present content of record.json; its error is cut before the first path.
        config: the configuration without the keys that say where and how the run executes.
    """

    id: str
    name: str
    record: Mapping[str, Any]
    config: Mapping[str, Any]


class Tracker:
    """Receives a study's runs, one by one. It may raise or hang: it runs in its own process.

    For each run it gets `begin`, `epoch` for each epoch, and `end`. If a run has not ended at `close`, the next process
    calls `begin` for it again, and then `epoch` for new epochs only.

    Attributes:
        name: name in conf/tracker.
        wait_seconds: how long a study waits for the tracker at its end.
        packages: modules that it needs.
        extra: extra of this program that installs them; None if the program always installs them.
        surely: options that let `python -m harness.track` make up for a failure on any machine.
    """

    name: str = ""
    wait_seconds: float = 60.0
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None
    surely: ClassVar[Mapping[str, Any]] = {}

    def check(self) -> None:
        """Check that the tracker's packages are installed, without importing them.

        Raises:
            HarnessError: a package is not installed.
        """
        if missing := [package for package in self.packages if importlib.util.find_spec(package) is None]:
            what = f"'harness[{self.extra}]'" if self.extra else " ".join(missing)
            raise HarnessError(
                f"tracker={self.name} needs {', '.join(missing)}, which is not installed: pip install {what}."
            )

    def check_settings(self) -> None:
        """Check what the tracker reads besides the configuration, before a study starts.

        Raises:
            HarnessError: something is invalid.
        """

    def open(self, study: Path) -> None:
        """Start. Called first; `study` is the study's absolute directory."""

    def begin(self, run: Tracked) -> None:
        """Handle the start or resumption of a run."""

    def epoch(self, run: Tracked, number: int, values: Mapping[str, float], seconds: float) -> None:
        """Handle the end of an epoch.

        Args:
            run: the run.
            number: number of the epoch.
            values: metrics by name, e.g. `val/accuracy`.
            seconds: time of training and evaluation so far.
        """

    def end(self, run: Tracked, results: Mapping[str, float]) -> None:
        """Handle the end of a run; `run.record` is its final record, and `results` its metrics and costs by name."""

    def report(self, directory: Path, digest: str) -> None:
        """Handle the study's report: index.html, table.csv and others; `digest` is the digest of its table."""

    def close(self) -> list[str]:
        """Shut down; return sentences for the user."""
        return []


def shown(path: Path) -> str:
    """Return a path as shown to the user: relative to the working directory if it lies below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
