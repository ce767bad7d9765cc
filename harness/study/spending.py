"""The spending of a study over all its coordinators, kept in outcome.json."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.config.schema import Config
from harness.planning.capacity import described, gpu_share, slot_rate
from harness.records.files import now, read_json, write_json
from harness.records.pricing import dollars
from harness.records.record import PAUSED
from harness.records.run_records import RunRecords
from harness.records.states import RunStatus, StudyEnd
from harness.records.study_files import RunPaths, StudyPaths

WRITE_SECONDS = 10.0  # a coordinator that is killed loses at most this much of its spending
LOOK_SECONDS = 5.0  # interval at which the records of runs under way are read for their cost


class Spending:
    """Counts the wall seconds and the dollars of a study.

    Local processes cost as long as the study holds them, whether they work or wait; Slurm jobs cost while they run.

    Args:
        directory: of the study.
        records: its records.
        config: the study's configuration.
        base: a cell's resolved configuration.
        capacity: runs that execute at once.
        began: `time.monotonic()` when the command began.

    Attributes:
        slot_rate: dollars per second of one run; None if no price is known.
        under_way: the identity of the job of each run under way, by the run's directory; used for Slurm jobs.
    """

    def __init__(
        self,
        directory: Path,
        records: RunRecords,
        config: Config,
        base: Mapping[str, Any],
        capacity: int,
        began: float,
    ) -> None:
        self._paths, self._records, self._began = StudyPaths(directory), records, began
        self._hardware = described(config)
        self.slot_rate = slot_rate(config, base, gpu_share(config, capacity))
        holds = config.launch.kind != "slurm" and self.slot_rate is not None
        self._rate = (self.slot_rate or 0.0) * capacity if holds else None
        before = self._paths.read_outcome()
        self._seconds_before = float(before.get("wall_seconds") or 0.0)
        self._dollars_before = float(before.get("dollars") or 0.0)
        self._written = time.monotonic()
        self.under_way: Mapping[str, Hashable] = {}
        # When the records of the runs under way were read last, and the dollars of those runs then.
        self._looked: tuple[float, float] = (float("-inf"), 0.0)
        self._seen: Mapping[str, Hashable] = {}  # the runs that were under way then, as in `under_way`
        # By job under way: when the first of its runs began, and the seconds of its runs that have ended.
        self._started: dict[Hashable, float] = {}
        self._settled: dict[Hashable, float] = {}

    @property
    def seconds(self) -> float:
        """Wall seconds during which a coordinator ran, over all restarts."""
        return self._seconds_before + time.monotonic() - self._began

    @property
    def dollars(self) -> float | None:
        """Dollars so far; None if no price is known."""
        if self.slot_rate is None:
            return None
        if self._rate is not None:
            return self._dollars_before + self._rate * (time.monotonic() - self._began)
        looked, so_far = self._looked
        if time.monotonic() - looked >= LOOK_SECONDS:
            so_far = self.slot_rate * self._under_way_seconds()
            self._looked = time.monotonic(), so_far
        tally = self._records.tally
        finished = ({"accelerator_seconds": tally.accelerator_seconds}, {"core_seconds": tally.core_seconds})
        return sum(dollars(cost, self._hardware) or 0.0 for cost in finished) + so_far

    def _under_way_seconds(self) -> float:
        """Return the seconds of the jobs with runs under way, less those of their ended runs, which records count."""
        jobs = set(self.under_way.values())
        for directory, job in self._seen.items():
            if job in jobs and self.under_way.get(directory) != job:
                self._settled[job] = self._settled.get(job, 0.0) + self._records.seconds(directory)
        for directory, job in self.under_way.items():
            if (began := _began(Path(directory))) is not None:
                self._started[job] = min(began, self._started.get(job, began))
        self._seen = dict(self.under_way)
        self._started, self._settled = (
            {job: value for job, value in known.items() if job in jobs} for known in (self._started, self._settled)
        )
        now = time.time()
        return sum(max(0.0, now - began - self._settled.get(job, 0.0)) for job, began in self._started.items())

    def tick(self) -> None:
        """Write the spending at intervals, so that little is lost if the coordinator is killed."""
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self.write(None)

    def write(self, ended: StudyEnd | None, note: str = "", disk: bool = False) -> None:
        """Write outcome.json.

        Args:
            ended: why the study ended; None while the study runs.
            note: what the budget left undone, if it ended the study.
            disk: whether to sum the sizes of the study's files, which takes a moment.
        """
        self._written = time.monotonic()
        tally, spent = self._records.tally, self.dollars
        write_json(
            self._paths.outcome,
            {
                "ended": ended,
                "at": now(),
                "note": note,
                "wall_seconds": round(self.seconds, 3),
                "run_seconds": round(tally.seconds, 3),
                "dollars": None if spent is None else round(spent, 6),
                "runs": {status: count for status, count in tally.statuses.items() if count},
                "disk_bytes": disk_bytes(self._paths.directory) if disk else None,
                "peak_memory_mb": tally.peak_memory_mb,
            },
        )


def settle(directory: Path) -> None:
    """Mark a study as done in outcome.json, if its coordinator ended before it did so."""
    paths = StudyPaths(directory)
    before = paths.read_outcome()
    if before and before.get("ended") != StudyEnd.DONE:
        write_json(paths.outcome, before | {"ended": StudyEnd.DONE, "note": ""})


def disk_bytes(directory: Path) -> int:
    """Return the bytes of all files of a study."""
    return sum((Path(folder) / name).lstat().st_size for folder, _, names in os.walk(directory) for name in names)


def _began(directory: Path) -> float | None:
    """Return the Unix time at which a running run began its present attempt; None if it is not running or is paused."""
    path = RunPaths(directory).record
    content = read_json(path)
    cost = content.get("cost") or {}
    if content.get("status") != RunStatus.RUNNING or not content.get("started") or PAUSED in cost:
        return None
    # The costs of a promoted run include the time before its pause; it rewrote its record when it continued.
    return path.stat().st_mtime if cost.get("total_seconds") else datetime.fromisoformat(content["started"]).timestamp()
