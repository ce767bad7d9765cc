"""Studies of texts on Slurm: jobs that share passes, and a coordinator that is killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.helpers.writing_studies import write_texts
from tests.slurm.studies import ClusterStudy

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]


def test_a_study_of_texts_goes_on_after_its_coordinator_was_killed(study: Callable[..., ClusterStudy]) -> None:
    """Its runs go on as jobs, two of them share passes, and the next coordinator takes their results."""
    mine = study(
        "method=lora", "tune.trials=2", "tune.startup_trials=2", "confirm.seeds=1", "train.epochs=6", "launch.fuse=2",
        "launch.threads=1",
    )  # fmt: skip
    mine.command = write_texts(mine.command, mine.directory)
    mine.start()
    mine.wait_for(lambda: list(mine.runs.glob("*/trial*/metrics.jsonl")))
    mine.kill()
    mine.start()
    printed = mine.ended()
    records = mine.records()
    assert [record["status"] for record in records] == ["ok"] * 3, printed
    assert max(record["cost"]["fused_runs"] for record in records) == 2
    assert (mine.directory / "reports" / "mine" / "index.html").is_file()
