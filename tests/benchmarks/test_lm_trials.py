"""The benchmark of trials on a decoder, at a tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.harness_vs_stock import Split
from tests.benchmarks.lm_trials import WritingTrials, WritingWork
from tests.benchmarks.workload import Configuration
from tests.helpers import tiny_writers


@pytest.mark.usefixtures("data")
def test_both_sides_train_the_same(tmp_path: Path) -> None:
    """At a rate that changes nothing, losses are equal: rows, masks and means are the same."""
    work = WritingWork(train=16, held=8, batch=4, trials=2, model=tiny_writers.saved(tmp_path, tiny_writers.decoder))
    still = [Configuration(4, 1e-12, 0), Configuration(8, 1e-12, 1)]
    warm = WritingTrials("warm", 1.0, warm=True, work=work).trainer(still, Split(1, 1))
    seconds, records = WritingTrials("ours", 1.0, warm=False, work=work).study(2, 2, "1e-12", "launch.workers=1")
    assert seconds > 0
    # Of four ranks the second trial may repeat the first; the third is then drawn at once, and shares its passes.
    assert {each.cost["fused_runs"] for each in records if each.phase == "tune"} == {2}
    losses = [each.metrics["val"]["loss"] for each in records]
    assert warm.facts["loss"][0] == pytest.approx(warm.facts["loss"][1], abs=1e-5)
    assert warm.facts["loss"][0] == pytest.approx(losses[0], abs=1e-4)
