"""What a cheaper cell gains from a teacher: BANKING77 with ten examples a class.

    HARNESS_DATA=... python -m tests.benchmarks.distil --output tests/benchmarks/results/distil.json

The teacher is one run, saved. Its students are a linear probe on the whole MiniLM and on its first three blocks, each
without and with `augment=distil`, whose unlabelled texts are the training file without its labels. Every student has
fresh seeds; its latency is that of its record. `--texts 200 --seeds 1 --teacher method=linear_probe` runs in minutes.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.instantiate import build
from harness.records.files import write_json
from harness.records.record import Record
from tests.helpers.small_dataset import minilm

TASK = ("task=banking77", "task.shots=10", "device=cpu")
BLOCKS = 3  # of the smaller model


def main() -> None:
    """Train teacher and students; write their scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--teacher", nargs="+", default=["method=full"])
    parser.add_argument("--student", default="linear_probe")
    parser.add_argument("--temperatures", nargs="+", type=float, default=[1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--texts", type=int, help="most texts without labels (default: all)")
    parser.add_argument("--more", nargs="+", default=[], help="further overrides of every run")
    parser.add_argument("--cache-dir", default="~/.cache/harness")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        texts = home / "texts.csv"
        with (Path(os.environ["HARNESS_DATA"]) / "banking77" / "train.csv").open(encoding="utf-8") as file:
            rows = [[row["text"]] for row in csv.DictReader(file)][: asked.texts]
        with texts.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["text"], *rows])
        small = _small(home / "minilm3", asked.cache_dir)
        common = [*TASK, *asked.more, f"runs_dir={home}", f"cache_dir={asked.cache_dir}"]
        _run(home, [*common, "study=teacher", *asked.teacher])
        (teacher,) = home.glob("teacher/runs/*/*/model")
        results: dict[str, Any] = {"teacher": asked.teacher, "cells": {"teacher": _cell([teacher.parent])}}
        models = {"minilm": ["model=minilm"], "minilm3": ["model=own", f"model.path={small}", "model.name=minilm3"]}
        for model, chosen in models.items():
            cells = {"plain": list[str]()} | {
                f"distilled, temperature {temperature:g}": [
                    "augment=distil", f"augment.distil.teacher_path={teacher}",
                    f"augment.distil.unlabelled_path={texts}", f"augment.distil.temperature={temperature}",
                ]
                for temperature in asked.temperatures
            }  # fmt: skip
            for number, (kind, more) in enumerate(cells.items()):
                study = f"{model}-{number}"
                for seed in range(asked.seeds):
                    method = [f"method={asked.student}", f"seed={seed}"]
                    _run(home, [*common, f"study={study}", *chosen, *method, *more])
                cell = _cell(sorted(path.parent for path in home.glob(f"{study}/runs/*/*/record.json")))
                results["cells"][f"{model}, {kind}"] = cell
                sys.stdout.write(f"{model}, {kind}: {cell}\n")
                write_json(asked.output, results)


def _run(home: Path, overrides: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "harness", *overrides], check=True, cwd=home, stdout=subprocess.DEVNULL)


def _cell(runs: list[Path]) -> dict[str, Any]:
    records = [record for each in runs if (record := Record.read(each / "record.json")) is not None]
    scores = [float(record.metrics["test"]["accuracy"] or 0.0) for record in records]
    found: dict[str, Any] = {"accuracy": round(float(np.mean(scores)), 4), "seeds": [round(each, 4) for each in scores]}
    for cost in ("latency_p50_seconds", "train_seconds", "saved_bytes"):
        found[cost] = float(np.median([record.cost[cost] for record in records]))
    if told := (records[0].data.get("augmented") or {}).get("distil"):
        found["distil"] = told
    return found


def _small(directory: Path, cache: str) -> Path:
    """Write MiniLM's first blocks."""
    from harness.models.network import load_backbone, load_tokenizer

    resolved = build(minilm()).resolve(Path(cache).expanduser())
    backbone: Any = load_backbone(resolved, "mean", 0)
    backbone.encoder.layer = backbone.encoder.layer[:BLOCKS]
    backbone.config.num_hidden_layers = BLOCKS
    backbone.save_pretrained(str(directory))
    load_tokenizer(resolved).save_pretrained(str(directory))
    return directory


if __name__ == "__main__":
    main()
