"""Whole studies with promotion: killed and resumed, on one process and on several, over several methods at once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import harness.runs.execute
from harness.records.files import read_jsonl
from harness.records.run_spec import RunBatch
from harness.status.study_status import survey
from tests.helpers.small_dataset import write_rows
from tests.study.test_survival import Study, short_model, wait_for

Main = Callable[..., tuple[int, str]]

# Rungs at 1 and 2 of 4 epochs; from a random head, for scores to differ.
PRUNED = (
    "train.epochs=4", "train.batch_size=16", "train.head_init=random", "tune.pruner=asha", "tune.reduction_factor=2",
    "tune.sampler=random", "confirm.seeds=1",
)  # fmt: skip
ASKED = (
    "-m", "task=csv", "task.path=mine.csv", "task.label=topic", *PRUNED, "launch.kind=inline", "launch.threads=1",
)  # fmt: skip


class Killed(BaseException):
    """Ends the coordinator as a signal would: nothing of it gets to tidy up what the test looks at."""


def trials(study: Path) -> list[dict[str, Any]]:
    """What the storage holds of each trial, but for when."""
    storage = JournalStorage(JournalFileBackend(str(study / "study.journal")))
    return [
        {"params": t.params, "values": t.values, "state": t.state.name, "levels": t.user_attrs}
        | {"rungs": t.intermediate_values}
        for name in optuna.get_all_study_names(storage)
        for t in optuna.load_study(study_name=name, storage=storage).trials
    ]


def records(study: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(study.glob("runs/*/*/record.json"))]


def test_a_study_killed_before_and_after_every_run_takes_the_same_decisions(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which trials are promoted, how they end and what is confirmed; and every run trains each epoch once."""
    write_rows(tmp_path / "mine.csv", per_class=12, seed=0)
    asked = (*ASKED, *short_model(), "method=lora", "tune.trials=5", "study=same")  # its name decides what is sampled
    code, printed = main(*asked, "runs_dir=straight")
    assert code == 0, printed
    assert "trial 1: paused at 1 epochs, val accuracy" in printed
    execute = harness.runs.execute.execute
    moments = iter(range(1000))

    def dies(batch: RunBatch, **options: Any) -> None:
        moment = next(moments) % 3
        if moment == 0:
            raise Killed
        execute(batch, **options)
        if moment == 1:
            raise Killed

    monkeypatch.setattr(harness.runs.execute, "execute", dies)
    for _ in range(60):
        try:
            code, printed = main(*asked, "runs_dir=killed")
            break
        except Killed:
            continue
    assert code == 0, printed
    straight, killed = tmp_path / "straight/same", tmp_path / "killed/same"
    assert trials(killed) == trials(straight)
    states = [trial["state"] for trial in trials(straight)]
    assert states.count("COMPLETE") >= 1 and states.count("PRUNED") >= 2 and "RUNNING" not in states
    for one, other in zip(records(killed), records(straight), strict=True):
        assert (one["status"], one["metrics"], one["signature"]) == (
            other["status"],
            other["metrics"],
            other["signature"],
        )
        assert one["cost"]["steps"] == other["cost"]["steps"]
    lines = [read_jsonl(path) for path in killed.glob("runs/*/trial*/metrics.jsonl")]
    assert all([line["epoch"] for line in found] == list(range(1, len(found) + 1)) for found in lines)
    assert not list(killed.glob("runs/*/*/checkpoint"))
    assert survey(killed).state == "done"


def test_the_winner_scores_what_it_does_without_a_pruner(main: Main, tmp_path: Path) -> None:
    """Of the trials that came to their end, each has the record that it has where nobody is pruned."""
    write_rows(tmp_path / "mine.csv", per_class=12, seed=0)
    asked = (*ASKED, *short_model(), "method=lora", "tune.trials=4", "launch.fuse=off")  # fused: up to rounding only
    for name, more in (("asha", ()), ("none", ("tune.pruner=none",))):
        code, printed = main(*asked, *more, "study=same", f"runs_dir={name}")
        assert code == 0, printed
    whole = {record["signature"]: record for record in records(tmp_path / "none/same")}
    ended = [record for record in records(tmp_path / "asha/same") if record["status"] == "ok"]
    assert any(record["phase"] == "tune" for record in ended)
    for record in ended:
        if record["phase"] == "tune":
            assert record["metrics"] == whole[record["signature"]]["metrics"]


def test_methods_of_a_joint_study_share_the_rungs(main: Main, tmp_path: Path) -> None:
    """Closed-form ones run whole; the others wait until all methods together have nobody left to promote."""
    write_rows(tmp_path / "mine.csv", per_class=12, seed=0)
    code, printed = main(
        *ASKED, *short_model(), "method=nearest_mean,lora,bitfit", "tune.mode=joint", "tune.trials=6",
        "tune.finalists=1", "study=joint",
    )  # fmt: skip
    assert code == 0, printed
    found = records(tmp_path / "runs/joint")
    assert {record["status"] for record in found} == {"ok", "pruned"}
    assert sum(record["phase"] == "confirm" for record in found) == 1
    (closed,) = [r for r in found if r["method"] == "nearest_mean" and r["phase"] == "tune"]
    assert closed["status"] == "ok" and closed["cost"].get("paused_at") is None
    assert "RUNNING" not in [trial["state"] for trial in trials(tmp_path / "runs/joint")]
    assert survey(tmp_path / "runs/joint").state == "done"


def test_workers_and_coordinator_killed_at_any_moment_cost_no_run(tmp_path: Path, cache: Path) -> None:
    """Two warm processes; what waits at a rung is neither lost nor trained again."""
    study = Study(
        tmp_path / "study", cache, *PRUNED, "method=lora", "tune.trials=6", "launch.workers=2"
    )  # fmt: skip
    process = study.begin()
    wait_for(lambda: sum("paused_at" in path.read_text() for path in study.runs.glob("*/trial*/record.json")) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    code, printed = study.finish()
    assert code == 0, printed
    found = study.records()
    assert {record["status"] for record in found} == {"ok", "pruned"}, printed
    tuned = [record for record in found if record["phase"] == "tune"]
    assert len(tuned) == 6 and any(record["status"] == "ok" for record in tuned)
    for path in study.runs.glob("*/trial*/metrics.jsonl"):
        epochs = [line["epoch"] for line in read_jsonl(path)]
        assert epochs == list(range(1, len(epochs) + 1))


def test_a_study_with_a_pruner_of_optuna(main: Main, tmp_path: Path) -> None:
    """Runs are looked at while they run; those that come to their end were seen at all rungs."""
    write_rows(tmp_path / "mine.csv", per_class=12, seed=0)
    code, printed = main(
        *ASKED, "method=lora", "tune.trials=5", "study=ended", "runs_dir=runs", "tune.pruner=median",
        "launch.kind=local", "launch.workers=1", "launch.fuse=off",
    )  # fmt: skip
    assert code == 0, printed
    found = trials(tmp_path / "runs/ended")
    ended = [each for each in found if each["state"] == "COMPLETE"]
    assert ended and {each["state"] for each in found} <= {"COMPLETE", "PRUNED"}
    assert len({tuple(each["rungs"]) for each in ended}) == 1 and len(ended[0]["rungs"]) >= 2
