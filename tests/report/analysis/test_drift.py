"""Drift of a study that was run again, in sentences."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from harness.report.analysis.drift import moved
from harness.report.cells.settings import Settings
from harness.report.reading.study import load
from tests.report.conftest import PROVENANCE, Builder, asked

ROWS = 1200
LABELS = [str(row % 4) for row in range(ROWS)]


def make(
    directory: Path,
    levels: Mapping[str, float],
    seed: int,
    rows: int = ROWS,
    seeds: int = 4,
    hyperparameters: Mapping[str, float] | None = None,
    torch: str = "2.12.0",
) -> Path:
    """Write a study of confirmed runs with the accuracies that are asked for, on examples of one hardness."""
    study = Builder(directory)
    study.sweep([asked(f"demo.minilm.{name}") for name in levels])
    shared, own = random.Random(0), random.Random(seed)
    hardness = [shared.random() for _ in range(rows)]
    for name, level in levels.items():
        for number in range(1, seeds + 1):
            reach = level + own.gauss(0, 0.003)
            right = [hard + own.gauss(0, 0.03) < reach for hard in hardness]
            predicted = [label if hit else "wrong" for label, hit in zip(LABELS, right, strict=False)]
            record = study.run(
                f"demo.minilm.{name}", f"c{number}", phase="confirm", seed=number,
                metrics={"val": {}, "test": {"accuracy": sum(right) / rows}},
                hyperparameters=dict(hyperparameters or {}), provenance=PROVENANCE | {"torch": torch},
            )  # fmt: skip
            Builder.predictions(record, LABELS[:rows], predicted)
    return study.directory


def test_says_which_cells_moved(tmp_path: Path) -> None:
    """The one that lost five points, by how much, with its limits; and what else differs between the studies."""
    levels = {"lora": 0.85, "full": 0.87, "probe": 0.8}
    anchor = make(tmp_path / "runs" / "old", levels, 1)
    study = make(tmp_path / "runs" / "new", levels | {"lora": 0.80, "ia3": 0.7}, 2, torch="2.13.0")
    found = moved(load(study), load(anchor), Settings())
    assert found[0] == (
        "Against old, 1 of 3 cells moved by more than chance allows (5 % chance of any false alarm), "
        "all for the worse."
    )  # fmt: skip
    assert found[1].startswith("lora is worse by ")
    assert " points (" in found[1]
    assert "The studies differ in torch (2.12.0, now 2.13.0)." in found
    assert "Not in old: ia3." in found


def test_an_unchanged_study_has_not_moved(tmp_path: Path) -> None:
    """Fresh runs of the same cells: none of them."""
    levels = {"lora": 0.85, "full": 0.87}
    studies = [load(make(tmp_path / "runs" / name, levels, seed)) for name, seed in (("new", 3), ("old", 4))]
    assert moved(*studies, Settings()) == [
        "Against old, none of 2 cells moved by more than chance allows (5 % chance of any false alarm)."
    ]


def test_what_makes_the_comparison_weaker_is_told(tmp_path: Path) -> None:
    """Other test rows, other hyperparameters, a single seed."""
    anchor = make(tmp_path / "runs" / "old", {"lora": 0.85}, 1, hyperparameters={"train.lr": 0.001})
    study = make(tmp_path / "runs" / "new", {"lora": 0.6}, 2, 1000, 1, {"train.lr": 0.01})
    found = moved(load(study), load(anchor), Settings())
    assert "with one seed this is of the trained models" in found[1]
    assert "On other test rows than then, so not compared row by row: lora." in found
    assert "With other hyperparameters than then was confirmed: lora." in found


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    """Missing predictions, and studies that share no cell."""
    anchor = make(tmp_path / "runs" / "old", {"lora": 0.85}, 1)
    study = make(tmp_path / "runs" / "new", {"lora": 0.85}, 2)
    other = make(tmp_path / "runs" / "other", {"full": 0.85}, 2)
    next(study.rglob("predictions.parquet")).unlink()
    found = moved(load(study), load(anchor), Settings())
    assert len(found) == 1
    assert found[0].startswith("lora is not compared: ")
    assert moved(load(other), load(anchor), Settings()) == [
        "No cell of old has a test score in both studies, so nothing can be said of drift."
    ]
