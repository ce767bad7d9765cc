"""Count what a service answers, in windows of time that are written to disk; no text is kept."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.errors import HarnessError
from harness.serve.feedback import make_folder, write_whole
from harness.serve.watching.windows import Counts, Reference, Window, reference_of
from harness.serving.confidence.judging import Judged

ROWS = 250  # answers after which a window is written
LEAST_SECONDS, MOST_SECONDS = 60.0, 600.0  # of a window: a busy service has larger ones, an idle one smaller ones
CHECKED = 10.0  # seconds between looks for windows that are due
FILE_BYTES, FOLDER_BYTES = 2**20, 64 * 2**20  # after which a file is ended, and the oldest of a model are removed
_LOG = logging.getLogger(__name__)


class Model(Protocol):
    """What is asked of a `harness.serve.loaded.Loaded`, whose attributes these are."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes."""

    @property
    def known(self) -> Any:
        """What it knows of its reliability."""

    @property
    def digest(self) -> str:
        """Of its files."""

    @property
    def detector(self) -> str | None:
        """The detector that gives `Judged.score`."""


@dataclass
class _Open:
    """A window that is being counted."""

    model: str
    digest: str
    reference: Reference
    detector: str | None
    since: float
    classes: Counts
    confidence: Counts
    score: Counts | None
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("unsure", "out_of_scope", "right", "wrong"), 0))

    @property
    def rows(self) -> int:
        return int(self.classes.sum())


class StatisticsStore:
    """The statistics of a service's models; see `harness.serve.watching.windows` for its files.

    Args:
        directory: the folder; made if it is missing.
        models: those of the service, by name.
        clock: seconds since the epoch.

    Raises:
        HarnessError: the folder cannot be written, or a model has nothing to compare with.
    """

    def __init__(self, directory: Path, models: Mapping[str, Model], clock: Callable[[], float] = time.time) -> None:
        self.directory, self._clock = directory, clock
        self._open: dict[str, _Open] = {}
        self._files: dict[str, Path] = {}
        self._known: dict[str, tuple[Reference, str | None]] = {}  # by digest
        self._lock = threading.Lock()
        self._failing = False
        watched = {name: model for name, model in models.items() if model.labels}
        if not watched:
            raise HarnessError("--statistics counts answers of models of classes, and this service has none.")
        for name, model in watched.items():
            if model.known is None:
                raise HarnessError(
                    f"--statistics needs what a model knows of its validation rows, and {name} was saved by an earlier "
                    "version: train it again."
                )
            reference_of(model.known)
        make_folder(directory, "--statistics")

    def add(self, name: str, judged: Judged, answers: Sequence[Mapping[str, Any]]) -> None:
        """Count the answers to the rows of a request.

        Args:
            name: of the model.
            judged: its n predictions; `by` computed them.
            answers: of these rows, as they are sent.
        """
        model = judged.by
        if not model.labels or model.known is None or judged.confidence is None:
            return
        with self._lock:
            window = self._window(name, model)
            window.classes += np.bincount(judged.predictions.argmax(axis=1), minlength=len(model.labels))
            window.confidence += window.reference.confidence.counts(judged.confidence)
            if window.score is not None and window.detector is not None and judged.score is not None:
                window.score += window.reference.scores[window.detector].counts(judged.score)
            for each in answers:
                if reason := each.get("reason"):
                    window.sums["out_of_scope" if reason.startswith("out of scope") else "unsure"] += 1
            self._write_due()

    def feedback(self, name: str, model: Model, right: bool) -> None:
        """Count feedback that says what a model had answered."""
        if model.labels and model.known is not None:
            with self._lock:
                self._window(name, model).sums["right" if right else "wrong"] += 1

    async def run(self) -> None:
        """Write windows that are due until cancelled, then all."""
        try:
            while True:
                await asyncio.sleep(CHECKED)
                with self._lock:
                    self._write_due()
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what was counted."""
        with self._lock:
            for name in list(self._open):
                self._write(name)

    def _window(self, name: str, model: Model) -> _Open:
        found = self._open.get(name)
        if found is not None and found.digest != model.digest:
            self._write(name)  # another model took its place
            self._open.pop(name, None)  # if it could not be written, it is lost
            found = None
        if found is None:
            if model.digest not in self._known:
                self._known[model.digest] = (reference_of(model.known), model.detector)
            reference, detector = self._known[model.digest]
            bins = {which: len(edges.values) + 1 for which, edges in reference.scores.items()}
            found = self._open[name] = _Open(
                name, model.digest, reference, detector, self._clock(), np.zeros(len(model.labels), dtype=np.int64),
                np.zeros(len(reference.confidence.values) + 1, dtype=np.int64),
                None if detector is None else np.zeros(bins[detector], dtype=np.int64),
            )  # fmt: skip
        return found

    def _write_due(self) -> None:
        for name, window in list(self._open.items()):
            age = self._clock() - window.since
            if age >= MOST_SECONDS or (age >= LEAST_SECONDS and window.rows >= ROWS):
                self._write(name)

    def _write(self, name: str) -> None:
        """Write a window and forget it; one that cannot be written goes on."""
        window = self._open[name]
        if not window.rows and not any(window.sums.values()):
            del self._open[name]
            return
        done = Window(
            window.model, window.digest, _time(window.since), _time(self._clock()), window.rows, window.classes,
            window.confidence, window.detector, window.score, **window.sums,
        )  # fmt: skip
        try:
            self._append(name, done.line().encode())
        except OSError as error:
            if not self._failing:
                _LOG.warning("Statistics cannot be written (%s); they are kept and tried again.", error.strerror)
            self._failing = True
            return
        self._failing = False
        del self._open[name]

    def _append(self, name: str, line: bytes) -> None:
        folder, file = self.directory / name, self._files.get(name)
        folder.mkdir(exist_ok=True, mode=0o700)
        if file is None or (file.is_file() and file.stat().st_size + len(line) > FILE_BYTES):
            made = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%S")
            file = self._files[name] = folder / f"{made}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
            _remove_oldest(folder)
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            write_whole(descriptor, line)
        finally:
            os.close(descriptor)


def _remove_oldest(folder: Path) -> None:
    """Remove the oldest files of a model while there are too many bytes."""
    files = sorted(folder.glob("*.jsonl"))
    sizes = {file: file.stat().st_size for file in files if file.is_file()}
    for file in files[:-1]:
        if sum(sizes.values()) <= FOLDER_BYTES - FILE_BYTES:
            break
        file.unlink(missing_ok=True)
        sizes.pop(file, None)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
