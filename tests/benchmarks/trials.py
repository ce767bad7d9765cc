"""Trials of LoRA in fused passes, against a process a trial and against warm processes that share an Optuna journal."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.records.record import Record
from harness.system.machine import multiplies_bfloat16
from tests.benchmarks.harness_vs_stock import Benchmark, Measurement, Split, splits
from tests.benchmarks.programs import run_stock, run_study
from tests.benchmarks.workload import HEAD_LR, MEDIUM, SHORT, Configuration, Work, configurations

COMPARED = 8  # trials, and confirmations, whose packed and solo runs are compared first
LOSS_TOLERANCE = 1e-4
EQUAL_PREDICTIONS = 0.999
# Between mean scores of stock and solo runs, whose heads, orders and dropout differ.
STANDARD_ERRORS, LARGEST_DIFFERENCE = 3.0, 0.05


class Trials(Benchmark):
    """Trials of 100 steps.

    Args:
        name: of the benchmark.
        goal: see `Benchmark`.
        work: rows, batch and steps.
        batch: runs that share passes.
        trials: their number.
    """

    def __init__(self, name: str, goal: float, work: Work, batch: int, trials: int = 32) -> None:
        self.name, self.goal, self._work, self._batch, self._trials = name, goal, work, batch, trials

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
        """What the class says."""
        return self._stock(configurations(self._trials), self._split())

    def ours(self) -> Measurement:
        """A study: as many trials from the same space, a confirmation of the best, and the report."""
        seconds, records, _ = self._study(self._trials, self._batch, confirmations=1)
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
                f"confirm.seeds={confirmations}", f"launch.fuse={batch}", f"train.precision={precision()}",
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
                "epochs": work.epochs, "head-lr": HEAD_LR, **({"bf16": True} if precision() == "bf16" else {}),
            }  # fmt: skip
            options = [common | {"rank": each.rank, "lr": each.lr, "seed": each.seed} for each in tried]
            seconds, found = run_stock("trainer.py", options, split)
        assert all(each["steps"] == work.steps for each in found), found
        return _measured(seconds, split, found)

    @cache  # noqa: B019 -- there is one of each benchmark
    def _split(self) -> Split:
        """The fastest way to divide this machine into processes and threads, by running a few trials each way."""
        ways = splits()
        tried = configurations(2 * max(way.processes for way in ways))
        return min(ways, key=lambda way: self._stock(tried, way).value)


class WarmTrials(Trials):
    """The same against as many warm processes as suit the machine."""

    def _stock(self, tried: Sequence[Configuration], split: Split) -> Measurement:
        """Trials that wait in a journal: wall seconds; the split, and each one's accuracy on the validation rows."""
        work = self._work
        with tempfile.TemporaryDirectory() as name:
            train, validation = work.write_rows(Path(name))
            journal = Path(name) / "journal.log"
            _enqueue(journal, tried)
            options = {
                "journal": journal, "train": train, "validation": validation, "tokens": work.tokens,
                "batch": work.batch, "epochs": work.epochs, "head-lr": HEAD_LR,
                **({"bf16": True} if precision() == "bf16" else {}),
            }  # fmt: skip
            seconds, found = run_stock("warm_trainer.py", [options] * split.processes, split)
        by_number = {each["number"]: each for part in found for each in part}
        results = [by_number[number] for number in range(len(tried))]
        assert all(each["steps"] == work.steps for each in results), results
        return _measured(seconds, split, results)


def _enqueue(journal: Path, tried: Sequence[Configuration]) -> None:
    """Put trials into a new journal, as `stock/warm_trainer.py` takes them."""
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(journal))), study_name="trials")
    for number, each in enumerate(tried):
        study.enqueue_trial({"rank": each.rank, "lr": each.lr}, user_attrs={"seed": each.seed, "number": number})


def precision() -> str:
    """Return the faster precision of this machine's CPU, which both sides compute in: bf16 or fp32."""
    return "bf16" if multiplies_bfloat16("cpu") else "fp32"


def _measured(seconds: float, split: Split, found: Sequence[Mapping[str, Any]]) -> Measurement:
    accuracy = [each["accuracy"] for each in found]
    return Measurement(seconds, {"split": str(split), "precision": precision(), "accuracy": accuracy})


SHORT_TRIALS = Trials("short_trials", 3.0, SHORT, batch=16)
MEDIUM_TRIALS = Trials("medium_trials", 1.3, MEDIUM, batch=8)
SHORT_TRIALS_WARM = WarmTrials("short_trials_warm", 3.0, SHORT, batch=16)
MEDIUM_TRIALS_WARM = WarmTrials("medium_trials_warm", 2.0, MEDIUM, batch=8, trials=24)
