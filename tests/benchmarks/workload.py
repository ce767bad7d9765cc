"""The work of `short_trials` and `medium_trials`: real rows of one length, and configurations of LoRA to try on it."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from harness.config.instantiate import build
from harness.models import ResolvedModel

ROOT = Path(__file__).resolve().parent.parent.parent
CLASSES = 20
TRAIN_ROWS = 400
VALIDATION_PER_CLASS = 4
HEAD_LR = 1e-3


@dataclass(frozen=True)
class Work:
    """Trials of 100 optimizer steps on 400 rows.

    Attributes:
        tokens: of every row: rows of BANKING77 that have as many are cut to it, so nothing is padded.
        batch: rows a step.
        epochs: passes over the rows.
    """

    tokens: int
    batch: int
    epochs: int

    @property
    def steps(self) -> int:
        """Optimizer steps of a trial."""
        return self.epochs * TRAIN_ROWS // self.batch

    def write_rows(self, directory: Path) -> tuple[Path, Path]:
        """Write `train.csv` and `validation.csv` (text, label): the 20 classes that have the most rows that long."""
        long = {split: _long_rows(split, self.tokens) for split in ("train", "test")}
        counts = Counter(label for _, label in long["train"])
        kept = [label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:CLASSES]]
        train = _first(long["train"], kept, TRAIN_ROWS // CLASSES)
        validation = _first(long["test"], kept, VALIDATION_PER_CLASS)
        return write_csv(directory / "train.csv", train), write_csv(directory / "validation.csv", validation)


SHORT = Work(tokens=16, batch=4, epochs=1)
MEDIUM = Work(tokens=32, batch=8, epochs=2)


@dataclass(frozen=True)
class Configuration:
    """What a trial tries; the head learns at `HEAD_LR`."""

    rank: int
    lr: float
    seed: int


def configurations(count: int) -> list[Configuration]:
    """Configurations to try: ranks 4 to 32 and rates 1e-4 to 3e-3, each drawn from a fixed seed."""
    draw = np.random.default_rng(0)
    return [
        Configuration(int(draw.choice([4, 8, 16, 32])), float(10 ** draw.uniform(-4, np.log10(3e-3))), seed)
        for seed in range(count)
    ]


def write_csv(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """Write rows as the stock programs read them: text, label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)
    return path


@cache
def minilm() -> ResolvedModel:
    """The files of MiniLM."""
    found: ResolvedModel = build(yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8"))).resolve(
        Path("~/.cache/harness").expanduser()
    )
    return found


@cache
def _long_rows(split: str, tokens: int) -> tuple[tuple[str, str], ...]:
    """Rows of BANKING77 of at least so many tokens: text, label."""
    from harness.models.network import load_tokenizer

    with (Path(os.environ["HARNESS_DATA"]) / "banking77" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        read = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    encoded = load_tokenizer(minilm())([text for text, _ in read])["input_ids"]
    return tuple(row for row, ids in zip(read, encoded, strict=True) if len(ids) >= tokens)


def _first(rows: Sequence[tuple[str, str]], classes: Sequence[str], each: int) -> list[tuple[str, str]]:
    return [row for label in classes for row in [row for row in rows if row[1] == label][:each]]
