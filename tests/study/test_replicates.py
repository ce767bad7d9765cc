"""`confirm.vary`: several tunings of a cell, and several draws of its training rows, in one study."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.config.schema import Config, ConfirmConfig, TuneConfig
from harness.records.record import Record
from harness.records.run_records import RunRecords
from harness.records.run_spec import RunBatch, RunSpec
from harness.records.study_files import recorded
from harness.search.storage import open_storage
from harness.status.study_status import survey
from harness.study.cell_scheduler import CellScheduler, make_schedulers
from harness.study.selection import write_choices
from tests.design.test_search_space import read
from tests.helpers.fake_studies import MadeUp, cells, coordinate
from tests.study.test_survival import Study

SPACE = {"train.lr": read("train.lr=tag(log,interval(1e-5,1e-1))")}


def score(spec: RunSpec) -> float:
    """The best rate is 1e-2; a bit of it is the seed's."""
    return 0.8 - abs(spec.config["train"]["lr"] - 1e-2) + 1e-6 * spec.config["seed"]


class Killed(Exception):
    """The coordinator was killed."""


class Dying(MadeUp):
    """Is killed after some runs."""

    def __init__(self, runs: int) -> None:
        super().__init__(score)
        self._left = runs

    def submit(self, batch: RunBatch) -> Any:
        if self._left <= 0:
            raise Killed
        self._left -= 1
        return super().submit(batch)


def begin(directory: Path, vary: list[str]) -> tuple[list[CellScheduler], RunRecords, Config]:
    """Open a study of two methods with three replicates, as a coordinator that begins or resumes it."""
    directory.mkdir(exist_ok=True)
    config = Config(tune=TuneConfig(trials=4, sampler="random"), confirm=ConfirmConfig(2, vary=vary, replicates=3))
    ready = cells(dict.fromkeys(("lora", "bitfit"), SPACE))
    draws = range(3) if "draw" in vary else (0, 0, 0)
    own = {
        each.cell.id: tuple(replace(each, fingerprint=f"draw{draw}", replicate=n) for n, draw in enumerate(draws))
        for each in ready
    }
    records = RunRecords(directory / "runs", pytest.fail)
    storage = open_storage(None, directory, pytest.fail)
    return make_schedulers(ready, config, (1, 2), "s", directory / "runs", records, storage, {}, own), records, config


def facts(directory: Path) -> list[Any]:
    """What every run of a study was, without times."""
    found = [record for paths in recorded(directory / "runs") if (record := Record.read(paths.record))]
    return sorted(
        (r.cell, r.phase, r.replicate, r.trial or 0, r.seed, r.status, json.dumps(r.hyperparameters)) for r in found
    )


@pytest.mark.parametrize("vary", [["seed", "tuning"], ["seed", "draw"], ["seed", "tuning", "draw"]])
def test_a_study_killed_after_every_run_has_the_replicates_of_an_uninterrupted_one(
    tmp_path: Path, vary: list[str]
) -> None:
    """Each tuning has trials and a choice of its own, each replicate seeds of its own; no run is repeated."""
    straight, records, config = begin(tmp_path / "straight", vary)
    launcher = MadeUp(score)
    assert coordinate(straight, launcher, config, records)
    for _ in itertools.count():
        again, records, config = begin(tmp_path / "killed", vary)
        try:
            assert coordinate(again, Dying(1), config, records)
            break
        except Killed:
            continue
    seen = facts(tmp_path / "straight")
    assert seen == facts(tmp_path / "killed")
    assert len(seen) == sum(map(len, launcher.seen)) == 2 * (4 * config.confirm.tunings + 3 * 2)
    trials = {(cell, replicate, number): (seed, values) for cell, phase, replicate, number, seed, _, values in seen
              if phase == "tune"}  # fmt: skip
    for (cell, replicate, number), (seed, values) in trials.items():
        assert seed == 1000 * replicate
        assert (values == trials[cell, 0, number][1]) == (replicate == 0 or number == 0)  # number 0 is the default
    confirmed = {(replicate, seed) for _, phase, replicate, _, seed, *_ in seen if phase == "confirm"}
    assert confirmed == {(n, seed + 1000 * n) for n in range(3) for seed in (1, 2)}
    selections = [scheduler.confirmation.selection for scheduler in straight if scheduler.id.endswith("lora")]
    write_choices(tmp_path, {"lora": selections})
    choice = json.loads((tmp_path / "choices.json").read_text())["lora"]
    assert [each["replicate"] for each in choice["replicates"]] == [0, 1, 2]
    assert choice["signatures"] == [name for each in choice["replicates"] for name in each["signatures"]]
    assert len({*choice["signatures"]}) == 6
    assert len({each["hyperparameters"]["train.lr"] for each in choice["replicates"]}) == config.confirm.tunings


def test_draws_and_tunings_of_a_real_study_are_paired_across_cells(tmp_path: Path, cache: Path) -> None:
    """Replicate r trains on draw r for every method; the test rows are the same; status and report can read it."""
    vary = "task.shots=5", "confirm.vary=[seed,tuning,draw]", "confirm.replicates=2", "confirm.seeds=1"
    study = Study(
        tmp_path / "study", cache, "method=nearest_mean,linear_probe", *vary, "tune.trials=2", "launch.kind=inline"
    )
    code, printed = study.finish()
    assert code == 0, printed
    records = study.records()
    data = {
        (record["replicate"], record["data"]["fingerprint"], record["data"]["draw"])
        for record in records
        if record["phase"] == "confirm"
    }
    assert sorted(label for label, _, _ in data) == [0, 1]
    assert sorted(draw for _, _, draw in data) == [0, 1]
    assert len([record for record in records if record["phase"] == "tune"]) == 2 * (1 + 2)
    seen = survey(study.runs.parent)
    assert {cell.state for cell in seen.cells} == {"done"}
    assert {(cell.confirmed, cell.seeds) for cell in seen.cells} == {(2, 2)}
    study.command += ["plan=true", "calibrate=false"]
    code, printed = study.finish()
    assert "2 replicates of each cell vary the tuning" in printed
    assert "2 cells, 10 runs" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("confirm.vary=[seed,draw]",), "trains on all rows, so there is nothing to draw"),
        (("confirm.vary=[tuning]",), "the seed always varies"),
        (("confirm.vary=[seed,tuning]", "tune.mode=joint"), "Set tune.mode=fair"),
        (("confirm.vary=[seed,tuning]", "confirm.max_seeds=9"), "add seeds of one replicate"),
        (("confirm.vary=[seed,tuning]", "confirm.replicates=1"), "one replicate varies nothing"),
        (("confirm.vary=[seed,draw]", "task.shots=5", "task.draw=0,1"), "task.draw makes cells here"),
        (("confirm.vary=[seed,tuning]", "seed=1,1001"), "Leave seed out"),
    ],
)
def test_what_cannot_vary_is_refused_before_any_compute(
    tmp_path: Path, cache: Path, arguments: tuple[str, ...], said: str
) -> None:
    """With the reason and what to do."""
    study = Study(tmp_path / "study", cache, "method=nearest_mean", *arguments, "launch.kind=inline")
    code, printed = study.finish()
    assert code == 2
    assert said in " ".join(printed.split())
    assert not study.runs.exists()
