"""The trackers of one command: started beside it, ended with it, and never waited for in between."""

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

from harness.config.instantiate import build
from harness.config.kinds import kind_of
from harness.errors import HarnessError
from harness.track.base import Tracker
from harness.track.registry import later
from harness.track.study_follower import stem

WARNING, NOTE = "Warning: ", "Note: "  # how a tracker's process marks what the user should see in its log


class Following:
    """The trackers of one command. Use as a context: it ends them, and what goes wrong with one is a warning.

    Attributes:
        report: the directory of the report, once there is one.
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
        """See that every tracker that is named can be made, before anything starts.

        Raises:
            HarnessError: a class or a key of a node does not exist, or a value breaks its rule.
        """
        for name, node in nodes.items():
            if not isinstance(node, Mapping):
                raise HarnessError(
                    f"tracker.{name} must be a tracker's configuration with its kind, as in conf/tracker, not "
                    f"{node}. tracker=[wandb,tensorboard] names those that there are; +tracker.<name>="
                    "{_target_:<package>.<class>} adds one."
                )
            if not isinstance(build(node, packages), Tracker):
                raise HarnessError(f"tracker.{name}: {kind_of(node)} is no harness.track.Tracker.")

    def start(
        self,
        nodes: Mapping[str, Mapping[str, Any]],
        packages: Sequence[str],
        study: Path,
        show: Callable[[str, str], None],
        only: str | None = None,
    ) -> None:
        """Start a process a tracker; returns at once.

        Args:
            nodes: `tracker` of the configuration: by name, a node that names the class.
            packages: the user's own packages that a node may name.
            study: the study's directory.
            show: prints a line for the user; its kind, `Note: ` or `Warning: `, comes first.
            only: the one run that is followed, `<cell>/<run>`; None for all.
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
        """Tell the trackers that nothing more will come, and wait for each until its time is up."""
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
            except Exception as error:  # noqa: BLE001 -- likewise
                self.print(WARNING, f"tracker={child.name}: {type(error).__name__}: {error}")

    def log(self, name: str, only: str | None = None) -> Path:
        """What a tracker's process printed, over all commands."""
        return Path(f"{stem(self.study, name, only)}.log")

    def _popen(self, name: str, node: Mapping[str, Any], only: str | None) -> subprocess.Popen[str]:
        log = self.log(name, only)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "harness.track.worker"]
        with log.open("a", encoding="utf-8") as file:
            # A session of its own: Ctrl-C is the study's business, which then ends its trackers in good order.
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
    """A tracker's process.

    Args:
        name: of the tracker.
        seconds: that are waited for it at the end.
        process: just started.
        log: what it prints to, which may hold what earlier ones printed.
        later: says how to make up for what it misses.
    """

    def __init__(self, name: str, seconds: float, process: subprocess.Popen[str], log: Path, later: str = "") -> None:
        self.name, self.seconds, self.process, self.log, self.later = name, seconds, process, log, later
        self.mark = f"--- {process.pid} "  # the process begins its part of the log with it

    def tell(self, report: Path | None) -> None:
        """Say that the end has come, and where the report is."""
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            if report is not None:
                self.process.stdin.write(json.dumps({"report": str(report.resolve())}) + "\n")
            self.process.stdin.close()

    def wait(self, began: float) -> int | None:
        """Wait until it has ended or its seconds since `began` are up, and then kill it: its exit code, or None."""
        try:
            return self.process.wait(max(0.0, began + self.seconds - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return None

    def said(self) -> list[str]:
        """The lines of its log that are for the user."""
        try:
            printed = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        own = printed.rpartition(self.mark)[2].splitlines()
        return [line for line in own if line.startswith((WARNING, NOTE))]
