"""Packs of runs, executed: who is under way beside whom, and what the records then say."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from harness.record import Pack, RunSpec
from harness.run import execute
from tests.small import config, record, spec


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def runs(tmp_path: Path, cache: Path, *methods: str) -> list[RunSpec]:
    """A tuning run a method, of one epoch."""
    return [
        spec(config(tmp_path, cache, method, seed=seed, train__epochs=1), tmp_path / f"run{seed}", phase="tune")
        for seed, method in enumerate(methods)
    ]


def test_runs_that_cannot_share_a_backbone_follow_one_another(tmp_path: Path, cache: Path) -> None:
    """Whatever the pack says, a second model is not held in memory for a run that would take turns."""
    pack = runs(tmp_path, cache, "last_layers", "last_layers", "last_layers")
    execute(Pack(tuple(pack), together=3))
    found = [record(run) for run in pack]
    assert [each.status for each in found] == ["ok"] * 3
    for before, after in itertools.pairwise(found):
        assert before.ended is not None and after.started is not None
        assert before.ended <= after.started
