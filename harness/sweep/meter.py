"""What a study has spent, over all its coordinators: outcome.json."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Hashable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.config import Config
from harness.price import described, dollars
from harness.record import RunPaths, now, write_json
from harness.sweep.places import place
from harness.sweep.reconcile import Records

OUTCOME = "outcome.json"
WRITE_SECONDS = 10.0  # a coordinator that is killed loses at most this much of its account
LOOK_SECONDS = 5.0  # how often the records of runs under way are read for what they have cost


class Meter:
    """Counts the wall seconds and the dollars of a study.

    Processes of this machine are paid for as long as the study holds them, whether they work or wait; jobs of a cluster
    while they run.

    Args:
        directory: of the study.
        records: its records.
        config: the study's configuration.
        base: a cell's resolved configuration.
        capacity: runs that execute at once.
        began: `time.monotonic()` when the command began.

    Attributes:
        slot_rate: dollars a second of one run; None where no price is known.
        under_way: by directory of each run under way what stands for its job; jobs of a cluster are paid for.
    """

    def __init__(
        self,
        directory: Path,
        records: Records,
        config: Config,
        base: Mapping[str, Any],
        capacity: int,
        began: float,
    ) -> None:
        self._path, self._records, self._began = directory / OUTCOME, records, began
        self._hardware = described(config)
        self.slot_rate = slot_rate(config, base)
        holds = config.launch.kind != "slurm" and self.slot_rate is not None
        self._rate = (self.slot_rate or 0.0) * capacity if holds else None
        before = _read(self._path)
        self._seconds_before = float(before.get("wall_seconds") or 0.0)
        self._dollars_before = float(before.get("dollars") or 0.0)
        self._written = time.monotonic()
        self.under_way: Mapping[str, Hashable] = {}
        self._looked: tuple[float, float] = (float("-inf"), 0.0)  # when, and what the runs under way had cost

    @property
    def seconds(self) -> float:
        """Wall seconds while somebody coordinated the study."""
        return self._seconds_before + time.monotonic() - self._began

    @property
    def dollars(self) -> float | None:
        """Dollars so far; None without a price."""
        if self.slot_rate is None:
            return None
        if self._rate is not None:
            return self._dollars_before + self._rate * (time.monotonic() - self._began)
        looked, so_far = self._looked
        if time.monotonic() - looked >= LOOK_SECONDS:
            jobs: dict[Hashable, float] = {}
            for directory, job in self.under_way.items():  # those of one job have its time together
                jobs[job] = max(jobs.get(job, 0.0), _running_seconds(Path(directory)))
            so_far = self.slot_rate * sum(jobs.values())
            self._looked = time.monotonic(), so_far
        tally = self._records.tally
        finished = ({"accelerator_seconds": tally.accelerator_seconds}, {"core_seconds": tally.core_seconds})
        return sum(dollars(cost, self._hardware) or 0.0 for cost in finished) + so_far

    def tick(self) -> None:
        """Write the account now and then, so that a coordinator that is killed leaves it."""
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self.write(None)

    def write(self, ended: str | None, note: str = "", disk: bool = False) -> None:
        """Write outcome.json.

        Args:
            ended: done | budget | interrupted; None while the study goes on.
            note: what a budget that ended the study left undone.
            disk: whether to add up the study's files, which takes a moment.
        """
        self._written = time.monotonic()
        tally, spent = self._records.tally, self.dollars
        write_json(
            self._path,
            {
                "ended": ended,
                "at": now(),
                "note": note,
                "wall_seconds": round(self.seconds, 3),
                "run_seconds": round(tally.seconds, 3),
                "dollars": None if spent is None else round(spent, 6),
                "runs": {status: count for status, count in tally.statuses.items() if count},
                "disk_bytes": disk_bytes(self._path.parent) if disk else None,
                "peak_memory_mb": tally.peak_memory_mb,
            },
        )


def settle(directory: Path) -> None:
    """Say in outcome.json that a study is done whose coordinator ended before it could."""
    before = _read(directory / OUTCOME)
    if before and before.get("ended") != "done":
        write_json(directory / OUTCOME, before | {"ended": "done", "note": ""})


def slot_rate(config: Config, base: Mapping[str, Any]) -> float | None:
    """Dollars a second of one run of a cell; None where no price is known for what it computes on.

    Args:
        config: the study's configuration.
        base: the cell's resolved configuration.
    """
    where = place(base, config)
    shared = config.launch.workers_per_gpu if config.launch.kind == "local" else 1
    gpu = where.device in ("cuda", "mps")
    second = {"accelerator_seconds": 1 / shared if gpu else None, "core_seconds": float(where.threads)}
    return dollars(second, described(config))


def disk_bytes(directory: Path) -> int:
    """Bytes of all files of a study."""
    return sum((Path(folder) / name).lstat().st_size for folder, _, names in os.walk(directory) for name in names)


def _running_seconds(directory: Path) -> float:
    """Seconds since a run that has begun, and not ended, began; what it took before it paused is among its costs."""
    path = RunPaths(directory).record
    content = _read(path)
    if content.get("status") != "running" or not content.get("started"):
        return 0.0
    paused_before = bool((content.get("cost") or {}).get("total_seconds"))
    began = path.stat().st_mtime if paused_before else datetime.fromisoformat(content["started"]).timestamp()
    return max(0.0, time.time() - began)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
