"""Sweeps over methods whose trunk is frozen: stock programs encode in every process, the harness once a machine."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks.banking import OVERRIDES, TOKENS, Files, write_files
from tests.benchmarks.harness_vs_stock import Benchmark, Measurement, Split, splits
from tests.benchmarks.programs import run_stock, run_study

TOLERANCE = 0.005  # half a point


class Sweep(Benchmark):
    """Trials that are chosen among by validation rows, then the best one on the test rows: programs against a study."""

    program: str
    key: str  # the override that the trials differ in
    option: str  # what the program calls it
    values: tuple[float, ...]
    overrides: tuple[str, ...]  # of the study
    confirmations = 1
    options: dict[str, Any]  # of the program

    @abstractmethod
    def judged(self, files: Files, tests: bool) -> dict[str, Any]:
        """The program's options that name the rows to judge."""

    def stock(self) -> Measurement:
        """A process a trial, then one more for the test rows."""
        split = self._split()
        with tempfile.TemporaryDirectory() as name:
            files = write_files(Path(name))
            seconds, found = self._programs(files, self.values, split, tests=False)
            scores = dict(zip(map(str, self.values), (each["validation"] for each in found), strict=True))
            best = max(self.values, key=lambda value: scores[str(value)])
            whole = Split(1, split.processes * split.threads)
            more, (last,) = self._programs(files, (best,), whole, tests=True)
        facts = {"split": str(split), "best": best, "validation": scores, "test": last["test"]}
        return Measurement(seconds + more, facts | {"trials_seconds": seconds})

    def ours(self) -> Measurement:
        """A study: the same trials, confirmations of the best, and the report."""
        values = ",".join(map(str, self.values))
        tuned = (f"{self.key}=choice({values})", "tune.sampler=grid", f"tune.trials={len(self.values)}")
        with tempfile.TemporaryDirectory() as name:
            seconds, records = run_study(
                Path(name), (*OVERRIDES, *self.overrides, *tuned, f"confirm.seeds={self.confirmations}")
            )
        trials = [each for each in records if each.phase == "tune"]
        scores = {str(each.hyperparameters[self.key]): each.metrics["val"]["accuracy"] for each in trials}
        assert set(scores) == set(map(str, self.values)), scores
        last = next(each for each in records if each.phase == "confirm")
        facts = {"best": last.hyperparameters[self.key], "validation": scores, "test": last.metrics["test"]["accuracy"]}
        return Measurement(seconds, facts)

    def _programs(
        self, files: Files, values: Sequence[float], split: Split, tests: bool
    ) -> tuple[float, list[dict[str, Any]]]:
        common = {"train": files.train, "tokens": TOKENS, **self.judged(files, tests), **self.options}
        return run_stock(self.program, [common | {self.option: value} for value in values], split)

    @cache  # noqa: B019 -- there is one of each benchmark
    def _split(self) -> Split:
        """The fastest way to divide this machine among the programs, by running a few each way."""
        took = {}
        with tempfile.TemporaryDirectory() as name:
            files = write_files(Path(name))
            few = self.values[: 2 * max(way.processes for way in splits())]
            for way in splits():
                took[way] = self._programs(files, few, way, tests=False)[0]
        return min(took, key=lambda way: took[way])


class LinearProbeSweep(Sweep):
    """Sixteen strengths of a linear probe."""

    name = "linear_probe_sweep"
    goal = 20.0
    program, key, option = "probe.py", "method.C", "C"
    values = tuple(round(float(each), 4) for each in np.geomspace(0.1, 1000, 16))
    overrides = ("method=linear_probe",)
    confirmations = 2  # one would leave a core idle while it encodes the test rows; two share that
    options: ClassVar = {}

    def judged(self, files: Files, tests: bool) -> dict[str, Any]:
        """Validation rows, for the chosen one also the test rows."""
        return {"judged": (files.validation, files.test) if tests else (files.validation,)}

    def parity(self) -> dict[str, Any]:
        """The largest difference of validation scores, of every fourth strength, and of the chosen one's test score."""
        ours, few = self.ours().facts, self.values[1::4]
        with tempfile.TemporaryDirectory() as name:
            files = write_files(Path(name))
            tried = (*few, ours["best"])
            _, stock = self._programs(files, tried, self._split(), tests=True)
        differences = [abs(stock[-1]["test"] - ours["test"])]
        differences += [
            abs(each["validation"] - ours["validation"][str(c)]) for c, each in zip(tried, stock, strict=True)
        ]
        return {"largest_difference": max(differences), "ok": max(differences) <= TOLERANCE}


class LastLayersSweep(Sweep):
    """Eight rates for the last two blocks, three epochs each, of one seed."""

    name = "last_layers"
    goal = 1.7
    program, key, option = "last_layers.py", "train.lr", "lr"
    values = tuple(round(float(each), 6) for each in np.geomspace(2e-4, 2e-3, 8))
    overrides = (
        "method=last_layers", "method.layers=2", "train.head_init=random", "train.head_lr=0.003", "train.epochs=3",
        "train.batch_size=32",
    )  # fmt: skip
    options: ClassVar = {"layers": 2, "head-lr": 0.003, "epochs": 3, "batch": 32}
    seeds = tuple(range(8))

    def judged(self, files: Files, tests: bool) -> dict[str, Any]:
        """Validation rows, for the chosen one also the test rows."""
        return {"validation": files.validation} | ({"test": files.test} if tests else {})

    def parity(self) -> dict[str, Any]:
        """The difference of mean validation scores of several seeds: first heads, orders and dropout differ."""
        rate = self.values[len(self.values) // 2]
        with tempfile.TemporaryDirectory() as name:
            asked = (f"{self.key}={rate}", "tune.trials=1", f"seed={','.join(map(str, self.seeds))}")
            _, records = run_study(Path(name), (*OVERRIDES, *self.overrides, *asked))
            ours = [each.metrics["val"]["accuracy"] for each in records if each.phase == "confirm"]
        with tempfile.TemporaryDirectory() as name:
            files = write_files(Path(name))
            common = {"train": files.train, "tokens": TOKENS, **self.judged(files, tests=False), **self.options}
            options = [common | {self.option: rate, "seed": seed} for seed in self.seeds]
            _, found = run_stock(self.program, options, self._split())
            stock = [each["validation"] for each in found]
        assert len(ours) == len(stock)
        difference = float(np.mean(ours) - np.mean(stock))
        return {"ours": ours, "stock": stock, "difference": difference, "ok": abs(difference) <= TOLERANCE}


LINEAR_PROBE_SWEEP, LAST_LAYERS_SWEEP = LinearProbeSweep(), LastLayersSweep()
