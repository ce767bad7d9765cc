"""No number of a report lies beyond its metric's scale: table, files, page, figures' data."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from harness.report import text_table, write
from harness.statistics import scale_of
from harness.tasks.text_classification.metrics import METRICS
from tests.report.conftest import Builder, asked

ROWS = 16
LABELS = [("neg", "pos")[row % 2] for row in range(ROWS)]


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "weighted_f1", "mcc", "auroc", "loss", "ece"])
def test_intervals_of_a_small_test_set_stay_on_the_scale(study: Builder, tmp_path: Path, metric: str) -> None:
    """16 rows: all right, one wrong, four wrong, all wrong, with and without seeds that differ."""
    errors = {"full": (0, 0), "lora": (1, 0), "probe": (4, 3), "knn": (ROWS, ROWS)}
    direction = "minimize" if metric in ("loss", "ece") else "maximize"
    cells = [asked(f"demo.minilm.{name}", metric=metric, direction=direction) for name in errors]
    study.sweep(cells, confirm={"seeds": [1, 2], "looks": [1, 2]})
    for name, counts in errors.items():
        for seed, wrong in enumerate(counts, 1):
            predicted = [{"neg": "pos", "pos": "neg"}[label] if i < wrong else label for i, label in enumerate(LABELS)]
            record = study.run(
                f"demo.minilm.{name}", f"c{seed}", phase="confirm", seed=seed, signature=f"{name}{seed}",
                metrics={"val": {}, "test": {metric: 1 - wrong / ROWS}},
            )  # fmt: skip
            study.predictions(record, LABELS, predicted)
    report = write(study.directory, tmp_path / "out")
    scale = scale_of(metric)
    with (tmp_path / "out" / "table.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(errors)
    for row in table:
        if METRICS[metric].no_interval(np.array([ROWS // 2, ROWS // 2])) is not None:
            assert row["ci_low"] == row["ci_high"] == ""
            continue
        low, high = float(row["ci_low"]), float(row["ci_high"])
        assert scale.low <= low < high <= scale.high, row["method"]
        assert -scale.span <= float(row["gap_low"]) and float(row["gap_high"]) <= scale.span
    if metric != "accuracy":
        return
    (perfect,) = [row for row in table if row["method"] == "full"]
    assert float(perfect["ci_low"]) == pytest.approx(0.78, abs=0.02)
    assert float(perfect["ci_high"]) == 1.0
    shown = (tmp_path / "out" / "table.md").read_text(encoding="utf-8") + (tmp_path / "out" / "index.html").read_text(
        encoding="utf-8"
    )
    assert re.search(r"7[789]\.\d to 100\.0", shown)
    ends = [float(end) for pair in re.findall(r"(-?\d+\.\d) to (-?\d+\.\d)", shown) for end in pair]
    assert ends and all(-100 <= end <= 100 for end in ends)
    assert text_table(report, 120) is not None
