"""BANKING77 with ten rows a class, as the harness reads it and as ordinary programs do: the same rows in CSV files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from harness.build import build
from harness.tasks.data import Split, TextData
from tests.benchmarks.work import ROOT

OVERRIDES = ("task=banking77", "task.shots=10")
TOKENS = 64


@dataclass(frozen=True)
class Files:
    """Where the rows lie: text, label."""

    train: Path
    validation: Path
    test: Path


def write_files(directory: Path) -> Files:
    """Write the rows that `OVERRIDES` name."""
    data = _data()
    assert data.validation is not None
    return Files(
        *(
            _write(directory / f"{name}.csv", split, data.labels)
            for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
        )
    )


@cache
def _data() -> TextData:
    node = yaml.safe_load((ROOT / "conf/task/csv.yaml").read_text(encoding="utf-8"))
    own = yaml.safe_load((ROOT / "conf/task/banking77.yaml").read_text(encoding="utf-8"))
    del own["defaults"]
    data: TextData = build(node | own | {"shots": 10}).load()
    return data


def _write(path: Path, split: Split, labels: tuple[str, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((text, labels[label]) for text, label in zip(split.texts, split.labels, strict=True))
    return path
