"""Trials of LoRA in packs that share passes, against a process a trial."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records.record import Record
from tests.benchmarks.harness_vs_stock import Benchmark, Measurement, Split, splits
from tests.benchmarks.programs import run_stock, run_study
from tests.benchmarks.workload import HEAD_LR, MEDIUM, SHORT, Configuration, Work, configurations

COMPARED = 8  # trials, and confirmations, whose packed and solo runs are compared first
LOSS_TOLERANCE = 1e-4
EQUAL_PREDICTIONS = 0.999
# Between mean scores of stock and solo runs, whose heads, orders and dropout differ.
STANDARD_ERRORS, LARGEST_DIFFERENCE = 3.0, 0.05


class Trials(Benchmark):
    """Thirty-two trials of 100 steps.

    Args:
        name: of the benchmark.
        goal: see `Benchmark`.
        work: rows, batch and steps.
        pack: runs that share passes.
    """

    def __init__(self, name: str, goal: float, work: Work, batch: int) -> None:
        self.name, self.goal, self._work, self._batch = name, goal, work, batch

    def parity(self) -> dict[str, Any]:
        """Packed runs against the same runs one after another; and those against stock ones of the same configurations.

        Of the first, losses and predictions; of the second, whose random draws are others, mean scores.
        """
        (_, packed, seen), (_, solo, alone) = (self._study(COMPARED, batch, COMPARED) for batch in (COMPARED, "off"))
        assert [each.signature for each in packed] == [each.signature for each in solo]
        pairs = list(zip(packed, solo, strict=True))
        loss = max(abs(one.metrics["val"]["loss"] - other.metrics["val"]["loss"]) for one, other in pairs)
        sizes = sorted({each.cost["fused_runs"] for each in packed})
        equal = float((seen == alone).mean())
        tuned = [each for each in solo if each.phase == "tune"]
        stock = self._stock(
            [
                Configuration(each.hyperparameters["method.config.r"], each.hyperparameters["train.lr"], each.seed)
                for each in tuned
            ],
            self._split(),
        )
        ours = [each.metrics["val"]["accuracy"] for each in tuned]
        differences = [mine - other for mine, other in zip(ours, stock.facts["accuracy"], strict=True)]
        error = statistics.stdev(differences) / len(differences) ** 0.5
        return {
            "ok": loss <= LOSS_TOLERANCE
            and equal >= EQUAL_PREDICTIONS
            and sizes[0] > 1
            and abs(statistics.mean(differences)) <= min(STANDARD_ERRORS * error, LARGEST_DIFFERENCE),
            "compared": len(pairs), "pack_sizes": sizes, "largest_loss_difference": loss,
            "predictions": len(seen), "equal_predictions": equal,
            "mean_difference_from_stock": round(statistics.mean(differences), 4), "its_standard_error": round(error, 4),
        }  # fmt: skip

    def stock(self) -> Measurement:
        """A process a trial."""
        return self._stock(configurations(32), self._split())

    def ours(self) -> Measurement:
        """A study: as many trials from the same space, a confirmation of the best, and the report."""
        seconds, records, _ = self._study(32, self._batch, confirmations=1)
        tuned = [each for each in records if each.phase == "tune"]
        return Measurement(
            seconds,
            {
                "accuracy": [each.metrics["val"]["accuracy"] for each in tuned],
                "pack_sizes": sorted({each.cost["fused_runs"] for each in tuned}),
                "train_seconds": sum(each.cost["train_seconds"] for each in tuned),
            },
        )

    def _study(self, trials: int, batch: int | str, confirmations: int) -> tuple[float, list[Record], pd.Series[str]]:
        """Wall seconds, records, and what the confirmations predicted, for every row of both splits."""
        work = self._work
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            train, validation = work.write_rows(directory)
            overrides = (
                "task=csv", "task.name=trials", f"task.path={train}", f"task.validation_path={validation}",
                f"task.test_path={validation}", "task.text=text", "task.label=label", f"task.max_length={work.tokens}",
                "method=lora", "method.config.r=choice(4,8,16,32)", "train.lr=tag(log,interval(1e-4,3e-3))",
                f"train.head_lr={HEAD_LR}", "train.head_init=random", f"train.batch_size={work.batch}",
                f"train.epochs={work.epochs}", "tune.sampler=random", f"tune.trials={trials}",
                f"confirm.seeds={confirmations}", f"launch.fuse={batch}",
            )  # fmt: skip
            seconds, records = run_study(directory, overrides)
            files = sorted(directory.glob("runs_dir/*/runs/*/*/predictions.parquet"))
            predicted = pd.concat([pd.read_parquet(path)["prediction"] for path in files], ignore_index=True)
        assert len(records) == trials + confirmations == trials + len(files)
        assert all(each.cost["steps"] == work.steps for each in records)
        return seconds, records, predicted

    def _stock(self, tried: Sequence[Configuration], split: Split) -> Measurement:
        """Trials in processes of their own: wall seconds; the split, and each one's accuracy on the validation rows."""
        work = self._work
        with tempfile.TemporaryDirectory() as name:
            train, validation = work.write_rows(Path(name))
            common = {
                "train": train, "validation": validation, "tokens": work.tokens, "batch": work.batch,
                "epochs": work.epochs, "head-lr": HEAD_LR,
            }  # fmt: skip
            options = [common | {"rank": each.rank, "lr": each.lr, "seed": each.seed} for each in tried]
            seconds, found = run_stock("trainer.py", options, split)
        assert all(each["steps"] == work.steps for each in found), found
        return Measurement(seconds, {"split": str(split), "accuracy": [each["accuracy"] for each in found]})

    @cache  # noqa: B019 -- there is one of each benchmark
    def _split(self) -> Split:
        """The fastest way to divide this machine into processes and threads, by running a few trials each way."""
        ways = splits()
        tried = configurations(2 * max(way.processes for way in ways))
        return min(ways, key=lambda way: self._stock(tried, way).value)


SHORT_TRIALS = Trials("short_trials", 3.0, SHORT, batch=16)
MEDIUM_TRIALS = Trials("medium_trials", 1.3, MEDIUM, batch=8)
