"""A study as a coordinator leaves it: records written by `Record.write`, of cells that fared differently."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from harness.records.record import Record
from harness.report import Report, write

STARTED = "2026-03-02T10:00:00.000+00:00"
FACTS = {
    "fingerprint": "9f2c4d7e1a50b3c6",
    "source": "banking77",
    "rows": {"train": 770, "validation": 1540, "test": 3080},
    "classes": 77,
    "words_mean": 11.9,
    "overlap_train_test": 2,
    "imbalance_train": 1.0,
    "truncated": {"train": 0, "test": 3},
    "shots": 10,
    "draw": 0,
    "selected_with": "selected with 1540 labels beyond the shots",
    "warnings": ["2 test rows (0.1%) occur among the training rows as well."],
}
PROVENANCE = {
    "harness": "0.1.0",
    "torch": "2.12.0",
    "python": "3.11.9",
    "device": "cpu",
    "threads": 2,
    "commit": "46ac61e",
}


@dataclass
class Builder:
    """Writes a study to disk, run by run."""

    directory: Path

    def sweep(self, cells: list[dict[str, Any]], **more: Any) -> None:
        content = {
            "name": self.directory.name,
            "harness": "0.1.0",
            "created": STARTED,
            "question": "b81f0a",
            "tune": {"trials": 8, "seconds": None, "sampler": "tpe", "startup_trials": 4, "pruner": "none", "seed": 0},
            "confirm": {"seeds": [1, 2, 3]},
            "cells": cells,
        } | more
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "sweep.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")

    def run(self, cell: str, name: str, config: dict[str, Any] | None = None, **values: Any) -> Path:
        task, model, method, *_ = [*cell.split("."), "", ""]
        fields: dict[str, Any] = {
            "signature": f"{len(cell):08x}{len(name):08x}", "status": "ok", "study": self.directory.name, "cell": cell,
            "phase": "tune", "task": task, "model": model, "method": method, "seed": 0, "data": FACTS,
            "provenance": PROVENANCE, "started": STARTED, "ended": STARTED,
        }  # fmt: skip
        path = self.directory / "runs" / cell.replace("/", "_") / name / "record.json"
        Record(**(fields | values)).write(path)
        if config is not None:
            path.with_name("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    @staticmethod
    def predictions(record: Path, labels: Sequence[str], predicted: Sequence[str]) -> None:
        """Write what a run predicted for the test rows, sure of it, beside its record."""
        names = sorted({*labels, *predicted})
        columns = {
            "split": ["test"] * len(labels), "id": list(range(len(labels))), "label": labels, "prediction": predicted,
            "probabilities": [[float(name == choice) for name in names] for choice in predicted],
        }  # fmt: skip
        table = pa.table(columns).replace_schema_metadata({"labels": json.dumps(names)})
        parquet.write_table(table, record.with_name("predictions.parquet"))

    @staticmethod
    def epochs(record: Path, values: Sequence[float], metric: str = "accuracy") -> None:
        """Write a run's validation metric after each epoch beside its record."""
        lines = [json.dumps({"epoch": epoch, "val": {metric: value}}) for epoch, value in enumerate(values, start=1)]
        record.with_name("metrics.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def asked(cell: str, **values: Any) -> dict[str, Any]:
    """Make an entry of sweep.yaml's `cells`."""
    task, model, method = cell.split(".")[:3]
    entry = {"id": cell, "task": task, "model": model, "method": method, "variant": {}, "metric": "accuracy"}
    return entry | {"direction": "maximize", "space": {}, "config": {"task": {"name": task}}} | values


@pytest.fixture
def study(tmp_path: Path) -> Builder:
    """Give a new, empty study."""
    return Builder(tmp_path / "runs" / "support")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, for tests that look at none: drawing is most of what a small report costs."""
    # The module, not the function of its name that the package exports.
    monkeypatch.setattr(importlib.import_module("harness.report.write"), "draw", lambda rows, found: [])


@pytest.fixture(scope="session")
def reported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of the finished study; tests read it and change nothing."""
    return write(finished, tmp_path_factory.mktemp("reported") / "out")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a study of eight cells: six confirmed, one failed, one not started."""
    builder = Builder(tmp_path_factory.mktemp("finished") / "runs" / "banking")
    make_banking(builder)
    return builder.directory


def make_banking(study: Builder) -> None:
    draw = random.Random(3)
    cells = {  # test mean, seed deviation, training seconds, trainable parameters, trials
        "zero_shot": (0.622, 0.0, 0.0, 0, 1),
        "nearest_mean": (0.815, 0.0, 0.08, 29568, 1),
        "linear_probe": (0.858, 0.0, 1.9, 29645, 6),
        "bitfit": (0.847, 0.004, 31.0, 78413, 8),
        "lora": (0.863, 0.004, 24.0, 177101, 8),
        "full": (0.873, 0.005, 38.0, 22743000, 8),
    }
    space = {"train.lr": "tag(log,interval(1e-4,1e-2))", "train.epochs": "choice(2,3,4)"}
    entries = [
        asked(f"banking77.minilm.{name}", space=space if name in ("bitfit", "lora", "full") else {}) for name in cells
    ]
    study.sweep([*entries, asked("banking77.minilm.ia3", space=space), asked("banking77.minilm.adalora", space=space)])
    for name, (mean, deviation, seconds, parameters, trials) in cells.items():
        cell = f"banking77.minilm.{name}"
        cost = {
            "train_seconds": seconds, "total_seconds": seconds + 4.2, "evaluate_seconds": 3.1, "data_seconds": 0.2,
            "samples_per_second": 73.2, "params_trainable": parameters, "params_total": 22713216 + 29645,
            "saved_bytes": 4 * parameters, "peak_memory_mb": 610.0 + seconds * 9, "threads": 2, "device": "cpu",
        }  # fmt: skip
        best: dict[str, Any] = {}
        top = 0.0
        for trial in range(trials):
            val = mean - 0.004 - (0.03 * draw.random() if trial else 0.01)
            tuned: dict[str, Any] = {}
            if name == "linear_probe":
                tuned = {"method.c": 10 ** draw.uniform(-1, 2)}
            elif trials == 8:
                tuned = {"train.lr": 10 ** draw.uniform(-4, -2), "train.epochs": draw.choice([2, 3, 4])}
            lost = name == "lora" and trial == 5
            metrics = {"val": {} if lost else {"accuracy": val, "macro_f1": val - 0.004, "loss": 0.52}, "test": {}}
            study.run(
                cell, f"t{trial:03d}", trial=trial, hyperparameters=tuned, metrics=metrics, cost=cost,
                status="lost" if lost else "pruned" if name == "full" and trial == 6 else "ok",
                error="The worker was killed twice (signal 9). See log.txt." if lost else None,
            )  # fmt: skip
            if val > top and not lost:
                top, best = val, tuned
        for seed in (1, 2, 3):
            test = mean + deviation * (seed - 2)
            scores = {"accuracy": test, "macro_f1": test - 0.005, "mcc": test - 0.01, "loss": 0.5}
            metrics = {"val": {"accuracy": top}, "test": scores}
            study.run(cell, f"c{seed}", phase="confirm", seed=seed, hyperparameters=best, cost=cost, metrics=metrics)
    for trial in range(3):
        error = "IA3 found no module named 'query | key' in this backbone. Set method.config.target_modules."
        study.run("banking77.minilm.ia3", f"t{trial:03d}", trial=trial, status="failed", error=error, data={})


def make_large(study: Builder, cells: int, runs: int) -> None:
    """Write many runs quickly: alike but for their trial, seed, learning rate and score; some failed."""
    names = [f"demo.minilm.m{index:04d}" for index in range(cells)]
    study.sweep([asked(cell, space={"train.lr": "interval(0,1)"}) for cell in names])
    config = {"task": {"name": "demo", "shots": 10}, "train": {"epochs": 3, "batch_size": 32, "lr": 0.5}, "seed": 7}
    metrics = {"val": {"accuracy": 0.4242, "macro_f1": 0.4}, "test": {}}
    values: dict[str, Any] = {"trial": 0, "seed": 7, "hyperparameters": {"train.lr": 0.5}, "metrics": metrics}
    template = study.run(names[0], "t0", config | {"notes": ["x" * 60] * 40}, cost={"total_seconds": 9.5}, **values)
    record = template.read_text(encoding="utf-8")
    settings = template.with_name("config.yaml").read_text(encoding="utf-8")
    draw = random.Random(0)
    for cell in names:
        for number in range(runs):
            rate, score = f"{draw.random():.6f}", f"{draw.uniform(0.3, 0.9):.6f}"
            text = record.replace(names[0], cell).replace(names[0].split(".")[2], cell.split(".")[2])
            text = text.replace('"trial": 0', f'"trial": {number}').replace('"seed": 7', f'"seed": {number}')
            text = text.replace("0.5\n", f"{rate}\n").replace("0.4242", score)
            if number % 50 == 49:
                text = text.replace('"status": "ok"', '"status": "failed"')
                text = text.replace('"error": null', f'"error": "Out of memory at step {number}"')
            directory = study.directory / "runs" / cell / f"t{number}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "record.json").write_text(text, encoding="utf-8")
            (directory / "config.yaml").write_text(settings.replace("lr: 0.5", f"lr: {rate}"), encoding="utf-8")
