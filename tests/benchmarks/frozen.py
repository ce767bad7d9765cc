"""Sweeps over methods whose trunk is frozen: stock programs encode in every process, the harness once a machine."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.record import Record
from tests.benchmarks.banking import OVERRIDES, TOKENS, Files, write_files
from tests.benchmarks.contest import Benchmark, Measurement, Split, run_all, splits
from tests.benchmarks.work import minilm

PROGRAMS = Path(__file__).with_name("stock")
TOLERANCE = 0.005  # half a point


def study(directory: Path, overrides: Sequence[str]) -> tuple[float, list[Record]]:
    """Run a study in a fresh process with an empty cache; its wall seconds, and its records."""
    places = [f"{name}={directory / name}" for name in ("runs_dir", "reports_dir", "cache_dir")]
    command = [sys.executable, "-m", "harness", "-m", *OVERRIDES, "device=cpu", "study=measured", *places, *overrides]
    seconds = run_all([command], Split(1, os.cpu_count() or 1))
    found = [Record.read(path) for path in sorted(directory.glob("runs_dir/measured/runs/*/*/record.json"))]
    records = [record for record in found if record is not None]
    assert records and all(record.status == "ok" for record in records), [record.error for record in records]
    return seconds, records


class LinearProbeSweep(Benchmark):
    """Sixteen strengths of a linear probe on validation rows, then the best one on the test rows."""

    name = "linear_probe_sweep"
    goal = 20.0
    strengths = tuple(round(float(each), 4) for each in np.geomspace(0.1, 1000, 16))

    def parity(self) -> dict[str, Any]:
        """Scores of both sides: of every fourth strength on validation rows, and of the best on test rows."""
        ours = self.ours().facts
        with tempfile.TemporaryDirectory() as name:
            files = write_files(Path(name))
            few = self.strengths[1::4]
            _, stock = self._trials(Path(name), files, few, (files.validation, files.test), best_split())
        differences = [abs(each["validation"] - ours["validation"][str(c)]) for c, each in zip(few, stock, strict=True)]
        tests = [each["test"] for c, each in zip(few, stock, strict=True) if c == ours["best"]]
        differences += [abs(test - ours["test"]) for test in tests]
        return {
            "largest_difference": max(differences),
            "compared": len(differences),
            "ok": max(differences) <= TOLERANCE,
        }

    def stock(self) -> Measurement:
        """A process each: import, load, encode training and validation rows, fit, judge; last the best on test rows."""
        split = best_split()
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            files = write_files(directory)
            seconds, scores = self._trials(directory, files, self.strengths, (files.validation,), split)
            best = max(zip(self.strengths, scores, strict=True), key=lambda each: each[1]["validation"])[0]
            last = Split(1, split.processes * split.threads)
            more, (final,) = self._trials(directory, files, (best,), (files.validation, files.test), last)
        return Measurement(seconds + more, {"split": str(split), "best": best, **final})

    def ours(self) -> Measurement:
        """A study: the same trials, one confirmation, and the report."""
        values = ",".join(map(str, self.strengths))
        with tempfile.TemporaryDirectory() as name:
            seconds, records = study(
                Path(name),
                ("method=linear_probe", f"method.C=choice({values})", "tune.sampler=grid", "tune.trials=16",
                 "confirm.seeds=1"),
            )  # fmt: skip
        scores = {str(each.hyperparameters["method.C"]): each.metrics["val"]["accuracy"] for each in records}
        (last,) = [each for each in records if each.phase == "confirm"]
        assert len(scores) == len(self.strengths)
        return Measurement(
            seconds,
            {"best": last.hyperparameters["method.C"], "validation": scores, "test": last.metrics["test"]["accuracy"]},
        )

    @staticmethod
    def _trials(
        directory: Path, files: Files, strengths: Sequence[float], judged: Sequence[Path], split: Split
    ) -> tuple[float, list[dict[str, float]]]:
        """Run stock trials; their wall seconds, and the scores of each by the name of the rows."""
        outputs = [directory / f"{strength}.json" for strength in strengths]
        commands = [
            [
                sys.executable, str(PROGRAMS / "probe.py"), "--model", str(minilm().path), "--train", str(files.train),
                "--judged", *map(str, judged), "--C", str(strength), "--tokens", str(TOKENS), "--output", str(output),
            ]
            for strength, output in zip(strengths, outputs, strict=True)
        ]  # fmt: skip
        seconds = run_all(commands, split)
        return seconds, [json.loads(output.read_text(encoding="utf-8")) for output in outputs]


@cache
def best_split() -> Split:
    """The fastest way to divide this machine among stock probes, by running a few each way."""
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name))
        few = LinearProbeSweep.strengths[: 2 * max(way.processes for way in splits())]
        took = {way: LinearProbeSweep._trials(Path(name), files, few, (files.validation,), way)[0] for way in splits()}
    return min(took, key=lambda way: took[way])


LINEAR_PROBE_SWEEP = LinearProbeSweep()
