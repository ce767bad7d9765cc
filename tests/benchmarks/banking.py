"""BANKING77 with few rows a class, as the harness reads it and as ordinary programs do: the same rows in CSV files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from harness.config.instantiate import build
from harness.data.dataset import Split
from harness.tasks.text_classification.data import ClassificationData
from tests.benchmarks.workload import ROOT, write_csv

OVERRIDES = ("task=banking77", "task.shots=10")
TOKENS = 64


@dataclass(frozen=True)
class Files:
    """Where the rows lie: text, label."""

    train: Path
    validation: Path
    test: Path


def write_files(directory: Path, **settings: str | int) -> Files:
    """Write the rows that the task has.

    Args:
        directory: for the files.
        settings: of the task; by default those of `OVERRIDES`.
    """
    data = _data(tuple((settings or {"shots": 10}).items()))
    assert data.validation is not None

    def write(name: str, split: Split) -> Path:
        labels = (data.labels[label] for label in split.labels)
        return write_csv(directory / f"{name}.csv", zip(split.texts, labels, strict=True))

    return Files(write("train", data.train), write("validation", data.validation), write("test", data.test))


@cache
def _data(settings: tuple[tuple[str, str | int], ...]) -> ClassificationData:
    node = yaml.safe_load((ROOT / "conf/task/csv.yaml").read_text(encoding="utf-8"))
    own = yaml.safe_load((ROOT / "conf/task/banking77.yaml").read_text(encoding="utf-8"))
    del own["defaults"]
    data: ClassificationData = build(node | own | dict(settings)).load()
    return data
