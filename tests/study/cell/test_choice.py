"""Which trial is confirmed, and what is kept of how far it leads the default."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.schema import Config, TuneConfig
from harness.records.record import Record
from harness.records.run_records import RunRecords
from harness.records.run_spec import RunSpec
from harness.records.study_files import recorded
from harness.search.storage import open_storage
from harness.study.cell_scheduler import CellScheduler, make_schedulers
from harness.study.selection import Selection, write_choices
from tests.helpers.fake_studies import MadeUp, cells, coordinate
from tests.study.test_replicates import SPACE, Dying, Killed

Score = Callable[[RunSpec], float]


def begin(directory: Path, tune: TuneConfig, rows: int = 100) -> tuple[CellScheduler, RunRecords, Config]:
    """Open the study of one cell with that many validation rows; trial 0 is the default, a rate of 1e-3."""
    config = Config(tune=tune)
    (ready,) = cells({"lora": SPACE})
    ready = replace(ready, facts={"rows": {"train": 32, "validation": rows}, "validation": "split"})
    directory.mkdir(exist_ok=True)
    records = RunRecords(directory / "runs", pytest.fail)
    storage = open_storage(None, directory, pytest.fail)
    (cell,) = make_schedulers([ready], config, (1,), "s", directory / "runs", records, storage, {})
    return cell, records, config


def chosen(directory: Path, tune: TuneConfig, score: Score, rows: int = 100) -> Selection:
    cell, records, config = begin(directory, tune, rows)
    assert coordinate([cell], MadeUp(score), config, records)
    assert cell.confirmation.selection is not None
    return cell.confirmation.selection


def slightly_better(spec: RunSpec) -> float:
    """Every trial is two points above the default."""
    return 0.80 if spec.trial == 0 else 0.82 + 0.001 * (spec.trial or 0)


@pytest.mark.parametrize(("select", "rows", "trial"), [("best", 100, 3), ("one_standard_error", 100, 0),
                                                       ("one_standard_error", 5000, 3)])  # fmt: skip
def test_the_default_stays_unless_it_is_led_by_more_than_one_standard_error(
    tmp_path: Path, select: str, rows: int, trial: int
) -> None:
    """The lead is kept either way, for the report."""
    selection = chosen(tmp_path, TuneConfig(trials=4, sampler="random", select=select), slightly_better, rows)
    assert selection.trial == trial
    write_choices(tmp_path, {"cell": [selection]})
    kept = json.loads((tmp_path / "choices.json").read_text())["cell"]["lead"]
    assert kept["over_default"] == pytest.approx(0.023)
    assert kept["rows"] == rows
    assert kept["standard_error"] == pytest.approx((0.823 * 0.177 / rows) ** 0.5)


def lucky(spec: RunSpec) -> float:
    """Trial 2 is lucky at the seed of the tuning, and trial 1 is better at every other; the others are worse."""
    scores = {0: 0.5, 1: 0.8, 2: 0.9 if spec.config["seed"] == 0 else 0.6, 3: 0.7}
    return scores.get(spec.trial if spec.trial is not None else -1, 0.0)


def test_the_three_best_are_ranked_again_at_fresh_seeds_also_by_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    """Without a look at the test split; luck at one seed is seen through, and nothing runs twice."""
    tune = TuneConfig(trials=4, sampler="random")
    assert chosen(tmp_path / "best", tune, lucky).trial == 2
    tune = replace(tune, select="rerank")
    for _ in range(30):
        cell, records, config = begin(tmp_path / "killed", tune)
        launcher = Dying(1)
        launcher._score = lucky
        try:
            assert coordinate([cell], launcher, config, records)
            break
        except Killed:
            continue
    found = [record for paths in recorded(tmp_path / "killed" / "runs") if (record := Record.read(paths.record))]
    again = sorted((record.trial, record.seed) for record in found if record.phase == "rerank")
    assert again == [(trial, seed) for trial in (1, 2, 3) for seed in (500, 501)]
    assert len(found) == 4 + 6 + 1
    assert cell.confirmation.selection is not None
    assert cell.confirmation.selection.trial == 1


def test_trials_share_a_training_seed_or_have_their_own(tmp_path: Path) -> None:
    """Own seeds are a function of the trial's number, and none is that of a confirmation."""
    seeds = {}
    for kind in ("shared", "own"):
        cell, records, config = begin(tmp_path / kind, TuneConfig(trials=4, sampler="random", trial_seeds=kind))
        assert coordinate([cell], MadeUp(slightly_better), config, records)
        seeds[kind] = [cell.tuning.spec(number).config["seed"] for number in range(4)]
    assert seeds["shared"] == [0] * 4
    assert len({*seeds["own"], 1}) == 5
