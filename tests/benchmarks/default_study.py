"""Where the time of the default study goes: `python -m tests.benchmarks.default_study [--checkout DIR] [--json FILE]`.

The study is README's first command, with nothing cached, in a process of its own. Only what it leaves is read, so the
program can be another version of itself (--checkout: a directory that holds one), to compare before and after.

- start: from the command to the first run: imports, composing, checks, and the start of workers.
- runs: from the start of the first to the end of the last.
- end: from there to the end of the command: report, figures, disk.
- busy: of the workers' time while runs went on, the share in which they had one.
- seconds by phase: of all runs together.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.config.schema import LaunchConfig
from harness.launch.devices import divide
from harness.records.files import write_json
from harness.system.resources import usable_cores
from tests.benchmarks.harness_vs_stock import hardware
from tests.helpers.small_dataset import ROOT

PHASES = ("data", "model", "head", "features", "train", "evaluate", "serve", "save")


def main() -> None:
    """Measure once and print, or write, what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--json", type=Path)
    parser.add_argument("more", nargs="*", help="further overrides")
    asked = parser.parse_args()
    result = measure(asked.checkout.resolve(), asked.more)
    print(json.dumps(result, indent=1))
    if asked.json:
        write_json(asked.json, result)


def measure(checkout: Path, more: list[str]) -> dict[str, Any]:
    """Run the default study of a checkout."""
    commit = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        command = [
            sys.executable, "-m", "harness", "-m", f"cache_dir={directory / 'cache'}", "study=default", *more,
        ]  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.time()
        subprocess.run(
            command, cwd=directory, env=os.environ | {"PYTHONPATH": str(checkout)}, check=True, capture_output=True
        )
        ended = time.time()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in directory.glob("runs/*/runs/*/*/record.json")]
    first, last = min(_at(run["started"]) for run in runs), max(_at(run["ended"]) for run in runs)
    workers = divide(LaunchConfig(), 0, usable_cores())[0]
    seconds: Counter[str] = Counter()
    for run in runs:
        known = {phase: float(run["cost"].get(f"{phase}_seconds") or 0.0) for phase in PHASES}
        if run["method"] in ("linear_probe", "nearest_mean", "zero_shot"):
            known["train"] = 0.0  # there it is what computing the features anew would take
        whole = float(run["cost"]["total_seconds"])
        seconds.update(known | {"whole": whole, "rest": whole - sum(known.values())})
    return {
        "commit": commit.stdout.strip(),
        "runs": len(runs),
        "wall_seconds": round(ended - began, 2),
        "processor_seconds": round(
            used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime, 2
        ),
        "start_seconds": round(first - began, 2),
        "runs_seconds": round(last - first, 2),
        "end_seconds": round(ended - last, 2),
        "busy": round(seconds["whole"] / (workers * (last - first)), 3),
        "evaluate_share": round(seconds["evaluate"] / seconds["whole"], 3),
        "seconds_by_phase": {phase: round(seconds[phase], 2) for phase in (*PHASES, "rest", "whole")},
        "hardware": hardware(),
    }  # fmt: skip


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
