"""The built-in demo of similarity: pairs of the demo's messages with a number from 0 to 5; needs no download.

Two messages of one intent are near 5, of two intents of a group near 2.5, of two groups near 0; the number is the mean
of five raters who differ, as in data sets of semantic similarity.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

import harness.tasks.text_classification.demo as messages
from harness.data.readers.rows import SPLITS
from harness.errors import Problems
from harness.tasks.text_regression.task import RegressionTask

ALIKE, RELATED = 5.0, 2.5  # similarity of two messages of an intent, and of two intents of a group
PARTS = (0.4, 0.3)  # fractions of pairs of one intent and of one group; the others are of two groups
RATERS = 5
SPREAD = 0.8  # standard deviation of a rater


@dataclass(kw_only=True)
class DemoSimilarity(RegressionTask):
    """Generated pairs. The same fields give the same rows on every machine and Python version."""

    train_pairs: int = 600
    validation_pairs: int = 200
    test_pairs: int = 400
    data_seed: int = 0

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for name in ("train_pairs", "validation_pairs", "test_pairs"):
            value = getattr(self, name)
            holds = isinstance(value, int) and not isinstance(value, bool) and 10 <= value <= 20_000
            problems.check(holds, f"task.{name} must be a whole number from 10 to 20000, not {value!r}.")
        problems.check(
            isinstance(self.data_seed, int) and not isinstance(self.data_seed, bool),
            f"task.data_seed must be a whole number, not {self.data_seed!r}.",
        )

    def read(self) -> tuple[dict[str, pd.DataFrame], str]:
        """Generate the three splits."""
        per_class = {f"{split}_per_class": max(4, getattr(self, f"{split}_pairs") // 20) for split in SPLITS}
        demo = messages.DemoTask(
            name=self.name, data_seed=self.data_seed, train_label_noise=0.0, test_label_noise=0.0, **per_class
        )
        frames, source = demo.read()
        return {split: self._pairs(split, frames[split]) for split in SPLITS}, source

    def _pairs(self, split: str, frame: pd.DataFrame) -> pd.DataFrame:
        material = yaml.safe_load(Path(messages.__file__).with_name("demo_messages.yaml").read_text(encoding="utf-8"))
        group = {intent: name for name, intents in material["groups"].items() for intent in intents}
        texts = {str(intent): list(part["text"]) for intent, part in frame.groupby("label")}
        rng = random.Random(f"{self.data_seed} {split} pairs")
        intents = sorted(texts)
        rows: dict[tuple[str, str], float] = {}
        while len(rows) < getattr(self, f"{split}_pairs"):
            one, part = _pick(rng, intents), rng.random()
            if part < PARTS[0]:
                other, level = one, ALIKE
            else:
                near = part < sum(PARTS)
                fitting = [each for each in intents if each != one and (group[each] == group[one]) == near]
                if not fitting:
                    continue
                other, level = _pick(rng, fitting), RELATED if near else 0.0
            pair = _pick(rng, texts[one]), _pick(rng, texts[other])
            if pair[0] != pair[1]:
                rows.setdefault(pair, _rated(rng, level))
        return pd.DataFrame(
            {
                "text": pd.Series([one for one, _ in rows], dtype="object"),
                "pair": pd.Series([other for _, other in rows], dtype="object"),
                "label": pd.Series([str(value) for value in rows.values()], dtype="object"),
                "id": pd.Series(range(len(rows)), dtype="int64"),
            }
        )


def _rated(rng: random.Random, level: float) -> float:
    """Return the mean of raters whose whole numbers lie around a level."""
    # A sum of twelve uniform numbers: random() is the only method whose sequence Python guarantees across versions.
    ratings = [level + SPREAD * (sum(rng.random() for _ in range(12)) - 6) for _ in range(RATERS)]
    return round(sum(min(max(round(rating), 0), 5) for rating in ratings) / RATERS, 2)


def _pick(rng: random.Random, options: list[str]) -> str:
    return options[int(rng.random() * len(options))]
