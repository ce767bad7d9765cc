"""Packs of runs, executed: who is under way beside whom, and what the records then say."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.execute import execute
from tests.helpers.small_dataset import record, spec
from tests.helpers.small_dataset import short_config as config


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def runs(tmp_path: Path, cache: Path, *methods: str, epochs: int = 1) -> list[RunSpec]:
    """A tuning run a method."""
    return [
        spec(config(tmp_path, cache, method, seed=seed, train__epochs=epochs), tmp_path / f"run{seed}", phase="tune")
        for seed, method in enumerate(methods)
    ]


def test_runs_that_cannot_share_a_backbone_follow_one_another(tmp_path: Path, cache: Path) -> None:
    """Whatever the pack says, a second model is not held in memory for a run that would take turns."""
    batch = runs(tmp_path, cache, "last_layers", "last_layers", "last_layers")
    execute(RunBatch(tuple(batch), together=3))
    found = [record(run) for run in batch]
    assert [each.status for each in found] == ["ok"] * 3
    for before, after in itertools.pairwise(found):
        assert before.ended is not None and after.started is not None
        assert before.ended <= after.started


def test_memory_and_energy_are_told_only_of_runs_that_had_the_process_alone(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a run paused in company and went on alone: the whole of it is not known then."""
    monkeypatch.setattr("harness.runs.measurements.Energy.joules", lambda self: 5.0)
    batch = [replace(run, rungs=(1,)) for run in runs(tmp_path, cache, "lora", "lora", epochs=2)]
    alone = replace(batch[0], directory=str(tmp_path / "alone"))
    execute(RunBatch(tuple(replace(run, until=1) for run in batch), together=2))
    for run in (*batch, replace(alone, until=1), alone):
        execute(RunBatch((run,)))
    for run in batch:
        assert record(run).status == "ok"
        assert record(run).cost["peak_memory_mb"] is None and record(run).cost["energy_joules"] is None
    cost = record(alone).cost
    assert cost["peak_memory_mb"] > 100 and cost["energy_joules"] == 10.0
