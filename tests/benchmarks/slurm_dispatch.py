"""What dispatch through Slurm costs: `python -m tests.benchmarks.slurm_dispatch [--runs N] [--single M] [--json FILE]`.

Needs the cluster of slurm/devcluster, up. In one run on one machine:

- arrays: N runs that do nothing, 25 to a warm job, submitted as job arrays.
- one_run_a_job: M of the same runs, one job a run, as array tasks.
- stock: M of the same runs, one submission a run through submitit's own executor.

For all: runs a second. For the first two: seconds from a run's record to its `tell` in the Optuna study; how often each
of Slurm's commands was started; CPU seconds of the coordinator and the commands it started.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import submitit
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.records.run_spec import RunSpec
from harness.system.resources import usable_cores
from tests.helpers.small_dataset import ROOT, write_rows


def run(directory: Path, name: str, runs: int, per_job: int) -> dict[str, Any]:
    """Run a study of one cell; measure it."""
    write_rows(directory / "mine.csv", per_class=30, seed=0)
    command = [
        sys.executable, "-m", "harness", "-m", "task=csv", "task.path=mine.csv", "task.label=topic",
        "method=faulty_noop",
        "--config-dir", str(ROOT / "tests/faulty/conf"), "packages=[tests]", f"study={name}", "slurm=devcluster",
        "slurm.mem_gb=1.5", "slurm.array_parallelism=2", f"launch.runs_per_job={per_job}", f"tune.trials={runs}",
        "tune.sampler=random", "confirm.seeds=1", "slurm.max_queued=24", f"cache_dir={directory / 'cache'}",
        "keep=none",
    ]  # fmt: skip
    started = time.perf_counter()
    with (directory / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=directory, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert status == 0, (directory / f"{name}.log").read_text()[-3000:]
    study = directory / "runs" / name
    calls = json.loads((study / "jobs/state.json").read_text())["calls"]
    asked = calls.get("squeue", 0) + calls.get("sacct", 0)
    delays = latencies(study)
    return {
        "runs": runs + 1,
        "runs_per_job": per_job,
        "seconds": round(seconds, 1),
        "runs_per_second": round((runs + 1) / seconds, 3),
        "tell_latency_p50_s": round(statistics.median(delays), 2),
        "tell_latency_max_s": round(max(delays), 2),
        "calls": calls,
        "asked_per_30_s": round(asked / max(1.0, seconds / 30), 2),
        "coordinator_cpu_s": round(used.ru_utime + used.ru_stime, 1),
    }


def one(spec: dict[str, Any]) -> None:
    """What one job executes."""
    from harness.records.run_spec import RunBatch, RunSpec
    from harness.runs.execute import execute

    execute(RunBatch((RunSpec(**spec),)))


def stock(directory: Path, study: Path, runs: int) -> dict[str, Any]:
    """One submitit job a trial, two at a time, as arrays of ours run two at a time: what people write today."""
    composed = sorted(study.glob("runs/*/trial*/config.yaml"))[:runs]
    specs = []
    for number, path in enumerate(composed):
        record = json.loads((path.parent / "record.json").read_text())
        content = yaml.safe_load(path.read_text())
        specs.append(
            asdict(
                RunSpec(str(directory / f"stock/run{number}"), content, record["signature"], "stock", "cell", "tune")
            )
        )
    executor = submitit.SlurmExecutor(directory / "submitit")
    executor.update_parameters(
        partition="main", account="dev", time=60, mem="1500MB", cpus_per_task=1, setup=[f"export PYTHONPATH={ROOT}"]
    )
    os.chdir(directory)  # where the study ran, too: the runs name their data relative to it
    started = time.perf_counter()
    waiting, under_way = list(specs), []
    while waiting or under_way:
        while waiting and len(under_way) < 2:
            under_way.append(executor.submit(one, waiting.pop()))
        under_way = [job for job in under_way if not job.done()]
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    statuses = [json.loads(path.read_text())["status"] for path in directory.glob("stock/*/record.json")]
    assert statuses == ["ok"] * runs, statuses
    return {"runs": runs, "seconds": round(seconds, 1), "runs_per_second": round(runs / seconds, 3)}


def latencies(study: Path) -> list[float]:
    """Seconds from the end of each tuning run, as its record says, to its `tell`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(study / "study.journal")))
    (summary,) = optuna.get_all_study_summaries(storage)
    told = {
        trial.number: trial.datetime_complete
        for trial in optuna.load_study(study_name=summary.study_name, storage=storage).get_trials(deepcopy=False)
    }
    found = []
    for path in study.glob("runs/*/trial*/record.json"):
        record = json.loads(path.read_text())
        ended = datetime.fromisoformat(record["ended"]).astimezone().replace(tzinfo=None)
        if (when := told.get(record["trial"])) is not None:
            found.append((when - ended).total_seconds())
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--single", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        run(directory, "warm", 1, 1)  # fills the cache of frozen features, which both then share
        result = {
            "arrays": run(directory, "arrays", arguments.runs, 25),
            "one_run_a_job": run(directory, "single", arguments.single, 1),
        }
        result["stock"] = stock(directory, directory / "runs/single", arguments.single)
    ratio = result["arrays"]["runs_per_second"] / result["stock"]["runs_per_second"]
    content = result | {"ratio": round(ratio, 1), "cores": usable_cores(), "platform": platform.platform()}
    print(json.dumps(content, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
