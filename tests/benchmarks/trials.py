"""Trials of LoRA in packs that share passes, against a process a trial."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.record import Record
from tests.benchmarks.contest import Benchmark, Measurement, Split, run_all
from tests.benchmarks.stock.trials import run_stock
from tests.benchmarks.work import HEAD_LR, MEDIUM, SHORT, Work, configurations

COMPARED = 8  # trials whose packed and solo runs are compared first
LOSS_TOLERANCE = 1e-4
EQUAL_PREDICTIONS = 0.999


class Trials(Benchmark):
    """Thirty-two trials of 100 steps.

    Args:
        name: of the benchmark.
        goal: see `Benchmark`.
        work: rows, batch and steps.
        pack: runs that share passes.
    """

    def __init__(self, name: str, goal: float, work: Work, pack: int) -> None:
        self.name, self.goal, self._work, self._pack = name, goal, work, pack

    def parity(self) -> dict[str, Any]:
        """Validation losses and accuracies of packed runs against those of the same runs one after another."""
        packed, solo = (self._study(COMPARED, pack)[1] for pack in (COMPARED, "off"))
        assert [each.signature for each in packed] == [each.signature for each in solo]
        pairs = list(zip(packed, solo, strict=True))
        losses = [abs(one.metrics["val"]["loss"] - other.metrics["val"]["loss"]) for one, other in pairs]
        accuracies = [abs(one.metrics["val"]["accuracy"] - other.metrics["val"]["accuracy"]) for one, other in pairs]
        shared = [each.cost["pack_size"] for each in packed if each.phase == "tune"]
        return {
            "compared": len(pairs),
            "pack_sizes": sorted(set(shared)),
            "largest_loss_difference": max(losses),
            "mean_accuracy_difference": sum(accuracies) / len(accuracies),
            "ok": max(losses) <= LOSS_TOLERANCE
            and sum(accuracies) / len(accuracies) <= 1 - EQUAL_PREDICTIONS
            and min(shared) > 1,
        }

    def stock(self) -> Measurement:
        """A process a trial."""
        return run_stock(self._work, configurations(32))

    def ours(self) -> Measurement:
        """A study: as many trials from the same space, a confirmation of the best, and the report."""
        seconds, records = self._study(32, self._pack)
        tuned = [each for each in records if each.phase == "tune"]
        return Measurement(
            seconds,
            {
                "accuracy": [each.metrics["val"]["accuracy"] for each in tuned],
                "pack_sizes": sorted({each.cost["pack_size"] for each in tuned}),
                "train_seconds": sum(each.cost["train_seconds"] for each in tuned),
            },
        )

    def _study(self, trials: int, pack: int | str) -> tuple[float, list[Record]]:
        work = self._work
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            train, validation = work.write_rows(directory)
            places = [f"{each}={directory / each}" for each in ("runs_dir", "reports_dir", "cache_dir")]
            command = [
                sys.executable, "-m", "harness", "-m", "study=measured", "device=cpu", *places,
                *("task=csv", "task.name=trials", f"task.path={train}", f"task.validation_path={validation}",
                 f"task.test_path={validation}", "task.text=text", "task.label=label", f"task.max_length={work.tokens}",
                 "method=lora", "method.config.r=choice(4,8,16,32)", "train.lr=tag(log,interval(1e-4,3e-3))",
                 f"train.head_lr={HEAD_LR}", "train.head_init=random", f"train.batch_size={work.batch}",
                 f"train.epochs={work.epochs}", "tune.sampler=random", f"tune.trials={trials}", "confirm.seeds=1",
                 f"launch.pack={pack}"),
            ]  # fmt: skip
            seconds = run_all([command], Split(1, os.cpu_count() or 1))
            found = [Record.read(path) for path in sorted(directory.glob("runs_dir/measured/runs/*/*/record.json"))]
        records = [record for record in found if record is not None]
        assert len(records) == trials + 1 and all(each.cost["steps"] == work.steps for each in records)
        return seconds, records


SHORT_TRIALS = Trials("short_trials", 3.0, SHORT, pack=16)
MEDIUM_TRIALS = Trials("medium_trials", 1.3, MEDIUM, pack=8)
