"""The figures of abstention and of rows out of scope: what they say is what predictions hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.metrics import roc_auc_score

from harness.report.figures import Drawing
from harness.report.reading.archive import freeze, thaw
from tests.report.conftest import Builder, asked
from tests.report.figures.test_figures import drawings

NAMES = ("a", "b", "c")


PARTS = {"validation": 800, "test": 500, "test_outside": 120}


def predictions(split: str, seed: int) -> pa.Table:
    """Rows whose probabilities are right on average, but written twice as sharp; all seeds have the same rows."""
    count, outside = PARTS[split], split == "test_outside"
    source, own = np.random.default_rng(len(split)), np.random.default_rng((len(split), seed))
    logits = source.normal(size=(count, 3)) * (0.7 if outside else 2.5)
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = [NAMES[source.choice(3, p=row)] for row in true]
    seen = np.exp(2 * (logits + 0.1 * own.normal(size=logits.shape)))
    sharp = seen / seen.sum(axis=1, keepdims=True)
    predicted = [NAMES[place] for place in sharp.argmax(axis=1)]
    right = [None if outside else float(one == other) for one, other in zip(labels, predicted, strict=True)]
    columns = {
        "split": [split] * count,
        "id": pa.array(range(count), pa.int64()),
        "label": ["(out of scope)"] * count if outside else labels,
        "prediction": predicted,
        "probabilities": pa.array(list(sharp), pa.list_(pa.float64())),
        "score_accuracy": pa.array(right, pa.float64()),
        "scope_confidence": sharp.max(axis=1),
        "scope_knn": own.normal(size=count) + (0.0 if outside else 2.0),
    }
    return pa.table(columns)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Two cells of three seeds, the second without rows out of scope."""
    built = Builder(tmp_path_factory.mktemp("scope") / "runs" / "scope")
    cells = {"tickets.minilm.linear_probe": tuple(PARTS), "tickets.minilm.knn": ("validation", "test")}
    built.sweep([asked(cell) for cell in cells])
    for cell, parts in cells.items():
        for seed in (1, 2, 3):
            tables = {split: predictions(split, seed) for split in parts}
            accuracy = {"accuracy": float(np.mean(tables["test"]["score_accuracy"].to_numpy()))}
            cost = {"train_seconds": 1.0 if len(parts) == 3 else 9.0}  # the first, which has all rows, is recommended
            metrics = {"val": accuracy, "test": accuracy}
            config = {"task": {"metric": "accuracy"}}
            record = built.run(cell, f"c{seed}", config, phase="confirm", seed=seed, metrics=metrics, cost=cost)
            whole = pa.concat_tables(tables.values())
            whole = whole.replace_schema_metadata({"labels": json.dumps(NAMES), "family": "text_classification"})
            parquet.write_table(whole, record.with_name("predictions.parquet"))
    return built


@pytest.fixture(scope="module")
def figures(study: Builder) -> dict[str, Drawing]:
    return drawings(study.directory)


def test_risk_coverage(figures: dict[str, Drawing]) -> None:
    """The temperature undoes the sharpness, and what the caption says of a precision is true of the test rows."""
    caption = figures["abstention-tickets"].caption
    assert "(mean of 3 seeds)" in caption and "dashed line counts test rows out of scope" in caption
    before, after = map(float, re.search(r"goes from (\d\.\d+) to (\d\.\d+)", caption).groups())  # type: ignore[union-attr]
    assert after < before
    found = re.search(r"For a precision of 90%, it answers ([\d.]+)%, ([\d.]+)% right", caption)
    assert found is not None and 20 < float(found[1]) < 100
    assert (
        "<text" in figures["abstention-tickets"].svg and "with rows out of scope" in figures["abstention-tickets"].svg
    )


def test_detectors(figures: dict[str, Drawing], study: Builder) -> None:
    """Areas are those of the files; detectors are compared; cells without such rows are left out."""
    drawing = figures["scope-tickets"]
    areas = []
    for seed in (1, 2, 3):
        file = study.directory / "runs" / "tickets.minilm.linear_probe" / f"c{seed}" / "predictions.parquet"
        table = parquet.read_table(file).to_pandas()
        kept = table[table["split"].isin(["test", "test_outside"])]
        areas.append(roc_auc_score(kept["split"] == "test", kept["scope_knn"]))
    assert f"knn has the largest, {100 * np.mean(areas):.1f}; it exceeds confidence by" in drawing.caption
    assert "120 test rows out of scope from 500 of the classes" in drawing.caption
    assert "linear_probe" in drawing.svg and ">knn<" in drawing.svg


def test_an_archive_keeps_the_detectors(study: Builder, tmp_path: Path) -> None:
    """Without probabilities there is no risk-coverage curve; scores of detectors stay."""
    freeze(study.directory, tmp_path / "study.zip")
    found = drawings(thaw(tmp_path / "study.zip"))
    assert "abstention-tickets" not in found
    assert "knn has the largest" in found["scope-tickets"].caption
