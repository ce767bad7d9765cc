"""The score that costs reduce."""

from __future__ import annotations

import pytest

from harness.report.cells.cell_summary import rows
from harness.report.cells.cost_penalty import cost_penalized
from harness.report.reading.study import load
from tests.report.conftest import Builder, asked


def test_each_cost_reduces_the_score(study: Builder) -> None:
    """Twice the latency of the fastest keeps half, and so do 500 million parameters; an unknown cost has no score."""
    costs = {
        "fast": {"latency_p50_seconds": 0.01, "params_trainable": 0, "peak_memory_mb": 0.0},
        "slow": {"latency_p50_seconds": 0.02, "params_trainable": 0, "peak_memory_mb": 0.0},
        "large": {"latency_p50_seconds": 0.01, "params_trainable": 5e8, "peak_memory_mb": 94e9 / 2**20},
        "unknown": {"params_trainable": 0, "peak_memory_mb": 0.0},
    }
    study.sweep([asked(f"demo.minilm.{name}") for name in costs], confirm={"seeds": 1})
    for name, cost in costs.items():
        metrics = {"val": {}, "test": {"accuracy": 0.8}}
        study.run(f"demo.minilm.{name}", "c1", phase="confirm", seed=1, metrics=metrics, cost=cost)
    table = rows(load(study.directory))
    found = {row.cell.method: cost_penalized(row, table) for row in table}
    assert found["fast"] == pytest.approx(0.8) and found["slow"] == pytest.approx(0.4)
    assert found["large"] == pytest.approx(0.2) and found["unknown"] is None
