"""A whole joint study: two objectives, a limit, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

from harness.status.study_status import survey
from tests.study.test_survival import Study


def test_a_joint_study_confirms_the_best_method_and_its_report_shows_the_pareto_set(
    tmp_path: Path, cache: Path
) -> None:
    """One budget for both methods; the same command again runs nothing."""
    study = Study(
        tmp_path / "study", cache, "method=nearest_mean,linear_probe", "tune.mode=joint", "tune.trials=4",
        "tune.finalists=1", "tune.objectives=[latency_p50_seconds]", "tune.constraints={peak_memory_mb:100000}",
        "confirm.seeds=1", "launch.kind=inline",
    )  # fmt: skip
    code, printed = study.finish()
    assert code == 0, printed
    records = study.records()
    tuned = [record for record in records if record["phase"] == "tune"]
    assert sorted(record["method"] for record in tuned) == ["linear_probe"] * 3 + ["nearest_mean"]
    assert sorted(record["trial"] for record in tuned)[:2] == [0, 1]
    assert all(record["cost"]["latency_p50_seconds"] > 0 for record in tuned)
    assert all(record["metrics"]["test"] == {} for record in tuned)
    (chosen,) = json.loads((study.runs.parent / "choices.json").read_text())
    assert {record["cell"] for record in records if record["phase"] == "confirm"} == {chosen}
    page = (study.table.parent / "index.html").read_text()
    assert "Pareto set" in page
    assert "4 trials for all" in page
    assert "above peak_memory_mb 100000 could not be chosen" in page
    seen = survey(study.runs.parent)
    assert seen.state == "done"
    assert {cell.state for cell in seen.cells} == {"done"}
    code, printed = study.finish()
    assert code == 0, printed
    assert study.records() == records
