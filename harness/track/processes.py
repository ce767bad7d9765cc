"""Tracker processes of one command: started and ended with it, and never waited for in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.config.annotations import type_errors_of
from harness.config.instantiate import build
from harness.config.kinds import kind_of, with_target
from harness.errors import HarnessError
from harness.track.base import Tracker
from harness.track.registry import later
from harness.track.study_follower import stem

WARNING, NOTE = "Warning: ", "Note: "  # prefixes of the lines in a tracker's log that are shown to the user


class Following:
    """Context manager that ends the trackers of one command; their errors become warnings.

    Attributes:
        report: directory of the report, once it exists.
    """

    def __init__(self) -> None:
        self.report: Path | None = None
        self.study = Path()
        self.packages: tuple[str, ...] = ()
        self.children: list[Child] = []
        self.print: Callable[[str, str], None] = lambda kind, line: None

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @staticmethod
    def check(nodes: Mapping[str, Mapping[str, Any]], packages: Sequence[str]) -> None:
        """Check that every configured tracker can be constructed, before anything starts.

        Raises:
            HarnessError: a class or key does not exist, or a value is invalid.
        """
        for name, node in nodes.items():
            if not isinstance(node, Mapping):
                raise HarnessError(
                    f"tracker.{name} must be a tracker's configuration with its kind, as in conf/tracker, not "
                    f"{node}. tracker=[wandb,tensorboard] names those that there are; +tracker.<name>="
                    "{_target_:<package>.<class>} adds one."
                )
            tracker = build(node, packages)
            if wrong := [*type_errors_of(with_target(node), f"tracker.{name}")]:
                raise HarnessError(*wrong)
            if not isinstance(tracker, Tracker):
                raise HarnessError(f"tracker.{name}: {kind_of(node)} is no harness.track.Tracker.")
            tracker.check_settings()

    def start(
        self,
        nodes: Mapping[str, Mapping[str, Any]],
        packages: Sequence[str],
        study: Path,
        show: Callable[[str, str], None],
        only: str | None = None,
    ) -> None:
        """Start one process per tracker, without waiting for it.

        Args:
            nodes: the `tracker` section of the configuration: name -> node with the class.
            packages: the user's own packages that a node may name.
            study: the study's directory.
            show: prints a line for the user; the first argument is its kind, `Note: ` or `Warning: `.
            only: the single run to follow, `<cell>/<run>`; None: all runs.
        """
        self.study, self.packages, self.print = study, tuple(packages), show
        for name, node in nodes.items():
            try:
                tracker = build(node, packages)
                tracker.check()
                process, log = self._popen(name, node, only), self.log(name, only)
                child = Child(name, tracker.wait_seconds, process, log, later(study, node))
                self.children.append(child)
            except Exception as error:  # noqa: BLE001 -- a tracker must not end a study
                self.print(WARNING, f"{error} It goes on without. {later(study, node)}".rstrip())

    def end(self) -> None:
        """Tell the trackers that the command ends, and wait for each up to its time limit."""
        children, self.children = self.children, []
        for child in children:
            child.tell(self.report)
        began = time.monotonic()
        for child in children:
            try:
                code = child.wait(began)
                said = child.said()
                for line in said:
                    kind = WARNING if line.startswith(WARNING) else NOTE
                    self.print(kind, line.removeprefix(kind))
                if code is None:
                    self.print(
                        WARNING,
                        f"tracker={child.name} had not ended after {child.seconds:g} s. {child.later}".rstrip(),
                    )
                elif code and not any(line.startswith(WARNING) for line in said):
                    died = f"tracker={child.name} died ({code}); see {child.log}. {child.later}"
                    self.print(WARNING, died.rstrip())
            except Exception as error:  # noqa: BLE001 -- a tracker must not end a study
                self.print(WARNING, f"tracker={child.name}: {type(error).__name__}: {error}")

    def log(self, name: str, only: str | None = None) -> Path:
        """Return the path of the log of a tracker's processes, of all commands."""
        return Path(f"{stem(self.study, name, only)}.log")

    def _popen(self, name: str, node: Mapping[str, Any], only: str | None) -> subprocess.Popen[str]:
        log = self.log(name, only)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "harness.track.worker"]
        with log.open("a", encoding="utf-8") as file:
            # A session of its own, so that Ctrl-C reaches only the study, which then ends its trackers properly.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=file, stderr=file, text=True, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            )  # fmt: skip
        order = {
            "study": str(self.study.resolve()), "node": dict(node), "packages": list(self.packages),
            "only": only, "parent": os.getpid(),
        }  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return process


class Child:
    """The process of a tracker.

    Args:
        name: name of the tracker.
        seconds: how long to wait for it at the end.
        process: the process, just started.
        log: its log file, which may also contain output of earlier processes.
        later: sentence that says how to make up for what it misses.
    """

    def __init__(self, name: str, seconds: float, process: subprocess.Popen[str], log: Path, later: str = "") -> None:
        self.name, self.seconds, self.process, self.log, self.later = name, seconds, process, log, later
        self.mark = f"--- {process.pid} "  # the process starts its part of the log with this

    def tell(self, report: Path | None) -> None:
        """Tell the process that the command ends, and where the report is."""
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            if report is not None:
                self.process.stdin.write(json.dumps({"report": str(report.resolve())}) + "\n")
            self.process.stdin.close()

    def wait(self, began: float) -> int | None:
        """Wait for its exit and return the exit code; kill it `seconds` after `began` and return None."""
        try:
            return self.process.wait(max(0.0, began + self.seconds - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return None

    def said(self) -> list[str]:
        """Return the lines of its log that are meant for the user."""
        try:
            printed = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        own = printed.rpartition(self.mark)[2].splitlines()
        return [line for line in own if line.startswith((WARNING, NOTE))]
