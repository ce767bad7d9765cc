"""What the harness adds to a run: `python -m tests.benchmarks.overhead [--trials N] [--json FILE]`.

- coordinator: trials a second when a run only writes its record, with a durable journal.
- warm pool: seconds that a run of a method that does nothing takes on a warm worker, from asked to told.
- fresh process: seconds for the same run in a process of its own, which is what one job a trial costs.

All three in one run on one machine; the ratio of the last two is what a warm pool is for.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from harness.config import Config
from harness.launch import Job, Launcher, Outcome
from harness.launch.local import LocalLauncher
from harness.record import Pack, now
from harness.sweep.cells import Cell
from harness.sweep.contest import Contest
from harness.sweep.coordinator import Coordinator, Interrupt
from harness.sweep.prepare import Ready, prepare
from harness.sweep.progress import Progress
from harness.sweep.reconcile import Records
from harness.sweep.storage import lock, open_storage
from harness.sweep.trials import Trials
from tests.small import config as small_config
from tests.sweep.test_space import read


class NoRuns(Launcher):
    """Writes the record that a run would have left, and is done."""

    capacity = 1

    def __init__(self) -> None:
        self._ended: list[Outcome] = []

    def submit(self, pack: Pack) -> Job:
        for spec in pack.runs:
            record = spec.new_record("ok")
            record.metrics["val"]["accuracy"] = spec.hyperparameters.get("method.knob", 0.5)
            record.started = record.ended = now()
            record.write(spec.paths.record)
        job = Job(pack)
        self._ended.append(Outcome(job))
        return job

    def wait(self, seconds: float) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        pass


def ready(directory: Path) -> Ready:
    """One cell whose method does nothing, on a small real data set."""
    content = small_config(directory, directory / "cache", method="nearest_mean")
    content["method"] = {
        "_target_": "tests.faulty.methods.Faulty", "name": "noop", "fault": "none", "knob": 0.0, "ignores": ["train"],
    }  # fmt: skip
    base = asdict(Config(**{k: v for k, v in content.items() if k in ("task", "model", "method", "seed")}))
    base.update(runs_dir=str(directory / "runs"), reports_dir=str(directory / "reports"))
    base.update(cache_dir=str(directory / "cache"), packages=["tests"], device="cpu")
    composed = OmegaConf.create(base)
    space = {"method.knob": read("method.knob=interval(0.0,1.0)")}
    cell = Cell("small.minilm.noop", "small", "minilm", "noop", {}, composed, space)
    (prepared,) = prepare([cell], composed)
    return prepared


def run(directory: Path, each: Ready, launcher: Launcher, trials: int) -> float:
    """Run a study of one cell; return its seconds."""
    directory.mkdir()
    config = Config(tune=OmegaConf.to_object(OmegaConf.create(each.base["tune"])))
    config.tune = type(Config().tune)(trials=trials, sampler="random")
    config.keep = "none"
    with lock(directory), Progress(Console(file=io.StringIO())) as progress:
        storage = open_storage(None, directory, print)
        records = Records(directory / "runs", print)
        cell = each.cell
        tuning = Trials(cell.id, cell.space, config.tune, True, [cell.encode({})], storage)
        contest = Contest(each, tuning, config, (1,), "bench", directory / "runs", records)
        started = time.perf_counter()
        done = Coordinator([contest], launcher, records, 0, False, progress, Interrupt()).run()
        seconds = time.perf_counter() - started
    assert done
    statuses = {record.status for record in records.of_cell(cell.id).values()}
    assert statuses == {"ok"}, statuses
    assert len(records.of_cell(cell.id)) == trials + 1
    return seconds


FRESH = """
import json, sys
from harness.record import Pack, RunSpec
from harness.run import execute
execute(Pack((RunSpec(**json.load(sys.stdin)),)))
"""


def measure(trials: int) -> dict[str, Any]:
    """Measure all three."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        each = ready(directory)
        coordinator = run(directory / "coordinator", each, NoRuns(), trials)
        launcher = LocalLauncher(workers=1, threads=1, timeout_min=None)
        try:
            run(directory / "warm-up", each, launcher, 2)  # imports, the model, the features: paid once a study
            pool = run(directory / "pool", each, launcher, min(trials, 100))
        finally:
            launcher.close()
        fresh = []
        for i in range(3):
            spec = each.spec(directory / "fresh", "bench", "tune", 0, {"method.knob": 0.1 * i}, trial=i)
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", FRESH], input=json.dumps(asdict(spec)), text=True, check=True)
            fresh.append(time.perf_counter() - started)
    per_trial = pool / (min(trials, 100) + 1)
    return {
        "name": "overhead",
        "trials": trials,
        "coordinator_trials_per_second": round((trials + 1) / coordinator, 1),
        "warm_pool_seconds_per_trial": round(per_trial, 4),
        "fresh_process_seconds_per_trial": round(sorted(fresh)[1], 3),
        "ratio": round(sorted(fresh)[1] / per_trial, 1),
        "hardware": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.trials)
    for key, value in result.items():
        print(f"{key:34} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps([result], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
