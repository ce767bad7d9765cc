"""Trials of LoRA on a decoder in fused passes, against Trainer with PEFT: a process a trial, and a warm process.

The work: 16 trials of 12 steps of 8 rows of E2E NLG (at most 128 tokens), ranks 4 to 32, rates 1e-4 to 3e-3; each is
judged by the loss of 32 held-out rows. The study also confirms the best at one seed and writes its report.
"""

from __future__ import annotations

import csv
import json
import os
import random
import statistics
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from harness.config.instantiate import build
from harness.records.record import Record
from tests.benchmarks.harness_vs_stock import Benchmark, Measurement, Split, splits
from tests.benchmarks.programs import run_stock, run_study
from tests.benchmarks.trials import LARGEST_DIFFERENCE, LOSS_TOLERANCE, STANDARD_ERRORS
from tests.benchmarks.workload import ROOT, Configuration, configurations

RATES = "tag(log,interval(1e-4,3e-3))"
COMPARED = 4  # trials whose fused, solo and stock runs are compared first


@dataclass(frozen=True)
class WritingWork:
    """What every trial trains on.

    Attributes:
        train, held: numbers of rows to train on and to judge by.
        batch: rows a step.
        epochs: passes over the rows.
        tokens: most of a row.
        trials: configurations.
        model: directory of a decoder; None: SmolLM2 of the package, converted once.
    """

    train: int = 96
    held: int = 32
    batch: int = 8
    epochs: int = 1
    tokens: int = 128
    trials: int = 16
    model: Path | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps of a trial."""
        return self.epochs * -(-self.train // self.batch)

    def directory(self) -> Path:
        """Return the directory of the model."""
        return self.model or smollm2()

    def write_rows(self, directory: Path) -> tuple[Path, Path]:
        """Write `train.jsonl` and `validation.jsonl` (prompt, completion): different meanings, one text each."""
        path = Path(os.environ["HARNESS_DATA"]) / "e2e_nlg" / "devset.csv"
        with path.open(encoding="utf-8", newline="") as file:
            texts = {row["mr"]: row["ref"] for row in csv.DictReader(file)}
        chosen = random.Random(0).sample(sorted(texts), self.train + self.held)
        files = directory / "train.jsonl", directory / "validation.jsonl"
        for file, meanings in zip(files, (chosen[: self.train], chosen[self.train :]), strict=True):
            rows = [{"prompt": f"Describe {meaning}:", "completion": f" {texts[meaning]}"} for meaning in meanings]
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return files


@cache
def smollm2() -> Path:
    """The files of SmolLM2, converted before anything is measured."""
    node = yaml.safe_load((ROOT / "conf/model/smollm2.yaml").read_text(encoding="utf-8"))
    found: Path = build(node).resolve(Path("~/.cache/harness").expanduser()).path
    return found


class WritingTrials(Benchmark):
    """Trials on a decoder.

    Args:
        name, goal: see `Benchmark`.
        warm: whether the stock side is one warm process for each part of the machine, instead of a process a trial.
        work: rows, batch and trials.
        fuse: runs that share passes.
    """

    def __init__(self, name: str, goal: float, warm: bool, work: WritingWork | None = None, fuse: int = 8) -> None:
        self.name, self.goal, self.warm, self.fuse = name, goal, warm, fuse
        self.work = work or WritingWork()

    def parity(self) -> dict[str, Any]:
        """Fused runs against the same runs one after another, and those against stock ones, by their losses."""
        (_, fused), (_, solo) = (self.study(COMPARED, fuse) for fuse in (COMPARED, "off"))
        assert [each.signature for each in fused] == [each.signature for each in solo]
        ours = [each.metrics["val"]["loss"] for each in solo]
        largest = max(abs(each.metrics["val"]["loss"] - loss) for each, loss in zip(fused, ours, strict=True))
        tuned = [each for each in solo if each.phase == "tune"]
        stock = self.trainer(
            [
                Configuration(each.hyperparameters["method.config.r"], each.hyperparameters["train.lr"], each.seed)
                for each in tuned
            ],
            Split(1, 1),
        )
        pairs = zip((each.metrics["val"]["loss"] for each in tuned), stock.facts["loss"], strict=True)
        differences = [mine - other for mine, other in pairs]
        error = statistics.stdev(differences) / len(differences) ** 0.5
        mean = statistics.mean(differences)
        sizes = sorted({each.cost["fused_runs"] for each in fused if each.phase == "tune"})
        return {
            "ok": largest <= LOSS_TOLERANCE
            and sizes[0] > 1
            and abs(mean) <= min(max(STANDARD_ERRORS * error, LOSS_TOLERANCE), LARGEST_DIFFERENCE),
            "compared": len(fused), "fused_runs": sizes, "largest_loss_difference": largest,
            "mean_difference_from_stock": round(mean, 5), "its_standard_error": round(error, 5),
        }  # fmt: skip

    def stock(self) -> Measurement:
        """Trainer and PEFT."""
        return self.trainer(configurations(self.work.trials), self._split())

    def ours(self) -> Measurement:
        """A study: as many trials from the same space, a confirmation of the best, and the report."""
        seconds, records = self.study(self.work.trials, self.fuse)
        tuned = [each for each in records if each.phase == "tune"]
        return Measurement(
            seconds,
            {
                "loss": [each.metrics["val"]["loss"] for each in tuned],
                "fused_runs": sorted({each.cost["fused_runs"] for each in tuned}),
                "train_seconds": sum(each.cost["train_seconds"] for each in tuned),
            },
        )

    def study(self, trials: int, fuse: int | str, rate: str = RATES, *more: str) -> tuple[float, list[Record]]:
        """Wall seconds and records of a study; `rate` is what its trials try, `more` further overrides."""
        work = self.work
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            train, held = work.write_rows(directory)
            overrides = (
                "task=text_generation", "task.name=trials", f"task.path={train}", f"task.validation_path={held}",
                f"task.test_path={held}", "task.prompt=prompt", "task.completion=completion", "task.test_rows=4",
                "task.generate.max_new_tokens=8", f"task.max_length={work.tokens}", "model=own", "model.name=decoder",
                f"model.path={work.directory()}", "method=lora", "method.config.r=choice(4,8,16,32)",
                f"train.lr={rate}", f"train.batch_size={work.batch}",
                f"train.epochs={work.epochs}", "tune.sampler=random", f"tune.trials={trials}", "confirm.seeds=1",
                "keep=none", f"launch.fuse={fuse}", *more,
            )  # fmt: skip
            seconds, records = run_study(directory, overrides)
        assert len(records) == trials + 1 and all(each.cost["steps"] == work.steps for each in records)
        return seconds, records

    def trainer(self, tried: list[Configuration], split: Split) -> Measurement:
        """Wall seconds of the stock programs, and the loss of each trial."""
        work = self.work
        parts = [[each] for each in tried]
        if self.warm:
            parts = [tried[first :: split.processes] for first in range(split.processes)]
        with tempfile.TemporaryDirectory() as name:
            train, held = work.write_rows(Path(name))
            options = [
                {
                    "model": work.directory(), "train": train, "validation": held, "tokens": work.tokens,
                    "batch": work.batch, "epochs": work.epochs, "rank": tuple(each.rank for each in part),
                    "lr": tuple(each.lr for each in part), "seed": tuple(each.seed for each in part),
                }
                for part in parts
            ]  # fmt: skip
            seconds, found = run_stock("lm_trainer.py", options, split)
        results: list[Any] = [None] * len(tried)
        for number, part in enumerate(found):
            for place, trial in enumerate(part):
                results[number + place * split.processes if self.warm else number] = trial
        assert all(each["steps"] == work.steps for each in results), results
        return Measurement(seconds, {"split": str(split), "loss": [each["loss"] for each in results]})

    @cache  # noqa: B019 -- there is one of each benchmark
    def _split(self) -> Split:
        """The fastest way to divide this machine into processes and threads, by running a few trials each way."""
        ways = splits()
        tried = configurations(max(way.processes for way in ways))
        return min(ways, key=lambda way: self.trainer(tried, way).value)


LM_TRIALS = WritingTrials("lm_trials", 2.5, warm=False)
LM_TRIALS_WARM = WritingTrials("lm_trials_warm", 1.5, warm=True)
