"""What the coordinator adds to a study of 1,000 short trials: its processor time, and whether its memory stays flat.

The study is the command line's own, from its start to its report, with the default sampler; its runs leave their files
at once (see `tests.benchmarks.fake_runs`), which is the hardest that runs can drive a coordinator. What it
costs to wait
for runs that take their time is measured in a study of few runs that sleep, and added.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.report import records
from tests.benchmarks.fake_runs import SECONDS, SLEEP, WORKERS
from tests.benchmarks.harness_vs_stock import Benchmark, Measurement

TRIALS = 1000
EARLY = 100  # trials after which memory is first looked at
GROWTH = 1.1  # of resident memory from then to the end that still counts as flat


class Overhead(Benchmark):
    """`stock` is what the runs take themselves, `ours` what the coordinator takes: 100 to 1 is one percent."""

    name = "overhead"
    goal = 100.0

    def parity(self) -> dict[str, Any]:
        """Every trial has its record, and the best of them is confirmed; memory stays flat."""
        with tempfile.TemporaryDirectory() as name:
            facts = study(Path(name), TRIALS)
            runs = records(Path(name) / "runs" / "overhead")
            trials = set(runs[runs.phase == "tune"].trial)
            chosen = json.loads((Path(name) / "runs" / "overhead" / "choices.json").read_text(encoding="utf-8"))
            best = next(iter(chosen.values()))["val"]
        early, late = (facts["settled"][number - 1][2] for number in (EARLY, TRIALS))
        return {
            "ok": trials == set(range(TRIALS)) and best == runs.val_accuracy.max() and late <= GROWTH * early,
            "runs": len(runs), "memory_mb": {EARLY: round(early, 1), TRIALS: round(late, 1)},
        }  # fmt: skip

    def stock(self) -> Measurement:
        return Measurement(TRIALS * SECONDS, {"seconds_per_run": SECONDS})

    def ours(self) -> Measurement:
        with tempfile.TemporaryDirectory() as name:
            facts = study(Path(name) / "many", TRIALS)
            few = study(Path(name) / "few", 4 * WORKERS, sleep=2.0)
        per_trial = {
            f"{first} to {last}": round(between(facts["settled"], first, last), 5)
            for first, last in ((1, EARLY), (TRIALS - EARLY, TRIALS))
        }
        waiting = idling(few, between(facts["settled"], 1, EARLY)) * TRIALS * SECONDS / WORKERS
        return Measurement(
            facts["cpu"] + waiting,
            {
                "sampler_seconds": round(facts["sampling"], 3), "waiting_seconds": round(waiting, 3),
                "per_trial_seconds": per_trial,
            },
        )  # fmt: skip


def study(directory: Path, trials: int, sleep: float = 0.0) -> dict[str, Any]:
    """Run a study in a process of its own; give what its coordinator took."""
    directory.mkdir(exist_ok=True)
    command = [
        sys.executable, "-m", "tests.benchmarks.fake_runs", str(directory / "facts.json"), "-m", "task=demo",
        "method=lora", f"tune.trials={trials}", "confirm.seeds=1", "study=overhead", f"runs_dir={directory / 'runs'}",
        f"reports_dir={directory / 'reports'}", f"cache_dir={directory / 'cache'}",
    ]  # fmt: skip
    subprocess.run(command, env=os.environ | {SLEEP: str(sleep)}, check=True, capture_output=True)
    found: dict[str, Any] = json.loads((directory / "facts.json").read_text(encoding="utf-8"))
    return found


def between(settled: list[tuple[float, float, float]], first: int, last: int) -> float:
    """CPU seconds a run from one settled run to another, counted from 1."""
    return (settled[last - 1][0] - settled[first - 1][0]) / (last - first)


def idling(facts: dict[str, Any], per_trial: float) -> float:
    """CPU seconds a wall second of a coordinator that mostly waits, less what its runs themselves cost it."""
    tuned = facts["settled"][:-1]  # the confirmation follows the choice
    (first, began, _), (last, ended, _) = tuned[0], tuned[-1]
    return max(0.0, last - first - per_trial * (len(tuned) - 1)) / (ended - began)
