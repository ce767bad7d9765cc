"""What a large study costs its coordinator: `python -m tests.benchmarks.scale`.

A study of 20 methods with N runs in all, M array tasks under way at once, on a simulated Slurm controller that answers
late, drops answers and lists a stale queue (see `tests.benchmarks.simulated_slurm`). Its runs end at once, which is the
hardest that runs can drive a coordinator. Printed, and written to FILE:

- cpu_ms_per_run: of the coordinator, in slices of the study; flat if nothing grows with the number of runs.
- memory_mib: resident memory of the coordinator after each slice.
- restart: wall and CPU seconds from the command to the first run that ends, when the same study gets one more trial a
  cell; `floor` is the same for a new study of the same cells.
- report: wall seconds of `python -m harness.report` on the study.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

METHODS = (
    "adalora", "bitfit", "boft", "c3a", "dora", "fourierft", "full", "hra", "ia3", "last_layers", "ln_tuning", "loha",
    "lokr", "lora", "lora_all_linear", "lora_attention", "lora_plus", "miss", "oft", "olora",
)  # fmt: skip
SLICES = 5


def study(directory: Path, name: str, trials: int, under_way: int) -> dict[str, Any]:
    """Run a study, or go on with it; return the facts of `fake_runs.run`, and when the command began."""
    facts = directory / f"{name}.json"
    command = [
        sys.executable, "-m", "tests.benchmarks.simulated_slurm", str(facts), "-m", "slurm=gpu",
        "slurm.gpus_per_node=0", "slurm.poll_s=5", f"slurm.max_queued={under_way}", "device=cpu",
        f"method={','.join(METHODS)}", f"tune.trials={trials}", "tune.sampler=random", "confirm.seeds=1",
        "launch.runs_per_job=1", f"study={name}", f"cache_dir={directory / 'cache'}",
        f"runs_dir={directory / 'runs'}", f"reports_dir={directory / 'reports'}",
    ]  # fmt: skip
    began = time.perf_counter()  # the same clock in all processes of this machine
    with (directory / f"{name}.log").open("w", encoding="utf-8") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "COLUMNS": "200"}, check=True)
    found: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
    return found | {"began": began}


def first(facts: dict[str, Any]) -> dict[str, float]:
    """Return what passed until the first run ended."""
    cpu, wall, _ = facts["settled"][0]
    return {"wall_s": round(wall - facts["began"], 2), "cpu_s": round(cpu, 2)}


def measure(directory: Path, runs: int, under_way: int) -> dict[str, Any]:
    """Measure a study in a directory."""
    trials = max(runs // len(METHODS), 2)  # with a confirmation, so that there are far more runs than slices
    facts = study(directory, "large", trials, under_way)
    settled = facts["settled"]
    ends = [round(part * (len(settled) - 1) / SLICES) for part in range(SLICES + 1)]
    slices = {
        f"{start} to {end}": round(1e3 * (settled[end][0] - settled[start][0]) / (end - start), 2)
        for start, end in pairwise(ends)
    }
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "harness.report", str(directory / "runs" / "large"), "--output", str(directory / "new")],
        check=True,
        capture_output=True,
    )
    report = time.perf_counter() - began
    return {
        "runs": len(settled), "under_way": under_way, "cpu_ms_per_run": slices,
        "memory_mib": {str(end): round(settled[end][2]) for end in ends},
        "report_s": round(report, 2),
        "restart": first(study(directory, "large", trials + 1, under_way)),
        "floor": first(study(directory, "small", 1, under_way)),
    }  # fmt: skip


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--under-way", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), arguments.runs, arguments.under_way)
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
