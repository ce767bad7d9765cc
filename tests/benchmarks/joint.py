"""What one study over several methods costs and finds, beside the fair study of the same methods.

    python -m tests.benchmarks.joint --output tests/benchmarks/results/joint.json

Both are real studies by the command line. The joint one is held against the best cell of the fair one: the difference
of their test means, with its standard error over seeds and test rows; and the run seconds and runs of both.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.records.files import write_json
from harness.report import records

METHODS = "bitfit,ia3,linear_probe,lora,nearest_mean,rslora"


def main() -> None:
    """Run both studies and print, or write, what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--task", nargs="+", default=["task=banking77", "task.shots=5"])
    parser.add_argument("--fair-trials", type=int, default=8, help="of each method")
    parser.add_argument("--joint-trials", type=int, default=16, help="of all methods together")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--more", nargs="*", default=[], help="further overrides of both studies")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    common = [*asked.task, f"method={asked.methods}", f"confirm.seeds={asked.seeds}", *asked.more]
    with tempfile.TemporaryDirectory(prefix="joint-") as root:
        found = {
            mode: _study(Path(root), mode, trials, common)
            for mode, trials in (("joint", asked.joint_trials), ("fair", asked.fair_trials))
        }
    fair, joint = found["fair"], found["joint"]
    difference = joint["best"]["test_mean"] - fair["best"]["test_mean"]
    error = math.hypot(joint["best"]["standard_error"], fair["best"]["standard_error"])
    result = {
        "asked": {"overrides": common, "fair_trials": asked.fair_trials, "joint_trials": asked.joint_trials},
        **found,
        "difference": difference,
        "difference_standard_error": error,
        "share_of_run_seconds": joint["run_seconds"] / fair["run_seconds"],
        "share_of_runs": joint["runs"] / fair["runs"],
        "within_noise": difference >= -2 * error,
    }
    print(json.dumps(result, indent=1))
    if asked.output:
        write_json(asked.output, result)


def _study(root: Path, mode: str, trials: int, common: list[str]) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "harness", "-m", *common, f"tune.mode={mode}", f"tune.trials={trials}", f"study={mode}",
        f"runs_dir={root / 'runs'}", f"reports_dir={root / 'reports'}",
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=sys.stderr)
    runs = records(root / "runs" / mode)
    confirmed = runs[(runs.phase == "confirm") & (runs.status == "ok")]
    choices = json.loads((root / "runs" / mode / "choices.json").read_text(encoding="utf-8"))
    # The winner is chosen by validation, as a user would; the test split only judges it.
    cell = max(choices, key=lambda name: choices[name]["val"])
    tests = confirmed[confirmed.cell == cell]
    by_cell = {
        name: {"val": choices[name]["val"], "test_mean": float(group.test_accuracy.mean())}
        for name, group in confirmed.groupby("cell")
    }
    record = json.loads((root / "runs" / mode / "runs" / tests.run.iloc[0] / "record.json").read_text(encoding="utf-8"))
    mean, rows = float(tests.test_accuracy.mean()), record["data"]["rows"]["test"]
    between = float(tests.test_accuracy.var(ddof=1)) / len(tests) if len(tests) > 1 else 0.0
    return {
        "best": {
            "cell": cell, "hyperparameters": choices[cell]["hyperparameters"], "test_mean": mean, "seeds": len(tests),
            "standard_error": math.sqrt(between + mean * (1 - mean) / rows),
        },
        "cells": by_cell,
        "trials": int((runs.phase == "tune").sum()),
        "runs": len(runs),
        "run_seconds": float(runs.total_seconds.sum()),
    }  # fmt: skip


if __name__ == "__main__":
    main()
