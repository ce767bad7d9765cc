"""Runs of several processes, on two nodes of a real Slurm."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.records.files import read_jsonl
from tests.slurm.conftest import DevCluster
from tests.slurm.studies import FAULTY, RUN, ClusterStudy

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]


def test_a_run_on_two_nodes_outlives_the_death_of_one_process(
    study: Callable[..., ClusterStudy], cluster: DevCluster
) -> None:
    """The loss says which rank died; the run goes on from its checkpoint in another job."""
    mine = study(
        *FAULTY, "method=faulty_dying", *RUN, "train.checkpoint_seconds=0", "tune.trials=1", "train.epochs=4",
        "launch.devices_per_run=2", "slurm.nodes_per_run=2",
    )  # fmt: skip
    mine.start()
    printed = mine.ended()
    assert "Its task 1: Killed" in printed
    records = mine.records()
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert [record["provenance"]["devices"] for record in records] == [2, 2]
    assert sorted(record["cost"]["resumes"] for record in records) == [0, 1]
    for log in mine.runs.glob("*/*/metrics.jsonl"):
        assert [line["epoch"] for line in read_jsonl(log)] == [1, 2, 3, 4]
