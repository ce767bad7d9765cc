"""Studies whose runs compute nothing: `execute` leaves the files that a short LoRA run would have left.

    python -m tests.benchmarks.fake_runs FACTS -m [override ...]

is `python -m harness -m ...` with such runs; what its coordinator took is written to FACTS, a JSON file.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from harness.cli.main import main
from harness.launch import make_launcher
from harness.launch.local.pool import LocalLauncher
from harness.records.files import append_jsonl, atomic, now, write_json
from harness.records.record import Record
from harness.records.run_spec import RunBatch, RunSpec
from harness.records.signature import NUMERICS_VERSION
from harness.records.states import Phase
from harness.search.storage import MirroredStudy
from harness.study import run_study
from harness.study.cell_scheduler import CellScheduler

SECONDS = 5.0  # what such a run would have taken
EPOCHS = 3
WORKERS = 2
SLEEP = "BENCHMARK_SLEEP_SECONDS"  # environment variable: how long each run waits, to see what waiting costs


def execute(batch: RunBatch, interrupted: Callable[[], bool]) -> None:
    """Leave a record of each run."""
    for spec in batch.runs:
        time.sleep(float(os.environ.get(SLEEP, "0")))
        leave(spec)


def leave(spec: RunSpec) -> None:
    """Write what a run leaves; its scores are a function of its learning rate."""
    spec.paths.directory.mkdir(parents=True, exist_ok=True)
    rate = spec.hyperparameters.get("train.lr", 1e-3)
    metrics = dict.fromkeys(("accuracy", "macro_f1", "weighted_f1", "mcc"), 1 / (1 + 1e3 * abs(rate - 2e-3)))
    metrics |= {"loss": 1.0, "ece": 0.1}
    record = spec.new_record("ok")
    record.metrics["val"] = metrics
    if spec.phase == Phase.CONFIRM:
        record.metrics["test"] = metrics
    record.cost = {f"{name}_seconds": 0.1 for name in ("data", "model", "head", "evaluate", "save")} | {
        "train_seconds": SECONDS - 0.5, "total_seconds": SECONDS, "core_seconds": SECONDS, "accelerator_seconds": None,
        "params_trainable": 177101, "params_total": 22713216, "samples": 1200, "tokens": 20000, "steps": 100,
        "best_epoch": EPOCHS, "epochs": EPOCHS, "peak_memory_mb": 900.0, "threads": 1, "device": "cpu", "resumes": 0,
    }  # fmt: skip
    record.data = {"fingerprint": "0" * 64, "rows": {"train": 600, "validation": 300, "test": 750}, "warnings": []}
    record.provenance = {
        "commit": "0" * 40, "model_digest": "0" * 64, "torch": "2", "platform": os.name,
        "numerics_version": NUMERICS_VERSION,
    }  # fmt: skip
    record.started = record.ended = now()
    with atomic(spec.paths.config) as temporary:
        temporary.write_text(yaml.safe_dump(spec.config, sort_keys=False), encoding="utf-8")
    for epoch in range(EPOCHS):
        append_jsonl(spec.paths.metrics, {"epoch": epoch + 1, "step": 33 * epoch, "train_loss": 1.0, "val": metrics})
    spec.paths.log.write_text("Epoch\n" * EPOCHS, encoding="utf-8")
    record.write(spec.paths.record)


def run(facts: Path, local: bool = True) -> None:
    """Run the command line's study, and note what its coordinator's process has used when runs settle.

    `settled` has a line a run: CPU seconds, wall seconds and resident MiB. `sampling`: CPU seconds in the sampler.

    Args:
        facts: the JSON file that is written.
        local: whether workers of this machine execute the runs; False: what the configuration says.
    """
    settled: list[tuple[float, float, float]] = []
    sampling = 0.0
    before_settle, before_sample = CellScheduler.settle, MirroredStudy.sample

    def settle(scheduler: CellScheduler, spec: RunSpec, record: Record) -> None:
        before_settle(scheduler, spec, record)
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        kilobytes = int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
        settled.append((time.process_time(), time.perf_counter(), kilobytes / 2**10))

    def sample(study: MirroredStudy, *arguments: Any) -> Any:
        nonlocal sampling
        started = time.process_time()
        try:
            return before_sample(study, *arguments)
        finally:
            sampling += time.process_time() - started

    def launcher(*arguments: Any) -> Any:
        if not local:
            return make_launcher(*arguments)
        return LocalLauncher(WORKERS, 1, None, module="tests.benchmarks.fake_runs")

    try:
        with (
            patch.object(run_study, "make_launcher", launcher),
            patch.object(CellScheduler, "settle", settle),
            patch.object(MirroredStudy, "sample", sample),
        ):
            main()
    finally:
        write_json(facts, {"cpu": time.process_time(), "settled": settled, "sampling": sampling})


if __name__ == "__main__":
    run(Path(sys.argv.pop(1)))
