"""A cell's way through a study: what its trials are told, and when its runs may start."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from harness.config.schema import BudgetConfig, Config, LaunchConfig, TuneConfig
from harness.launch import Job, Outcome
from harness.records.files import append_jsonl
from harness.records.run_records import prune
from harness.records.run_spec import RunBatch, RunSpec
from harness.study.budget import Budget
from tests.design.test_search_space import read
from tests.helpers.fake_studies import MadeUp, cells, coordinate, leave, schedulers

FEW = {"train.lr": read("train.lr=choice(1e-3,1e-2,1e-1)")}


def test_a_repetition_of_a_pruned_trial_has_no_score(tmp_path: Path) -> None:
    """What the pruned one was last judged by is that of a part of a run, and would compete with whole ones."""
    tune = TuneConfig(trials=3, pruner="median", sampler="random", seed=3)
    (cell,), _ = schedulers(cells({"lora": FEW}), Config(tune=tune), tmp_path)
    first = cell.next()
    assert first is not None
    leave(first, 0.9)
    cell.trials.report(0, 1, 0.9)
    cell.settle(first, prune(first, "Worse than others."))
    while (spec := cell.next()) is not None and spec.phase == "tune":
        leave(spec, 0.5)
        record = spec.result()
        assert record is not None
        cell.settle(spec, record)
    repeated = [trial for trial in cell.trials.all() if trial.params == cell.trials.trial(0).params][1:]
    assert repeated, "no trial repeats the first"
    assert all(trial.state == TrialState.FAIL for trial in repeated)


MANY = {"train.lr": read("train.lr=tag(log,interval(1e-5,1e-1))")}


@pytest.mark.parametrize("pruner", ["median", "successive_halving", "hyperband"])
def test_a_pruner_hears_of_every_rung_of_a_run_before_its_end(pruner: str, tmp_path: Path) -> None:
    """Also of what was written since the coordinator looked last; and it notes the score of each rung, not the last."""
    tune = TuneConfig(trials=2, pruner=pruner, sampler="random", reduction_factor=2)
    (cell,), _ = schedulers(cells({"lora": MANY}), Config(tune=tune), tmp_path)
    spec = cell.next()
    assert spec is not None
    spec.paths.directory.mkdir(parents=True)
    for rung in spec.rungs:
        line = {"epoch": rung, "step": rung, "val": {"accuracy": 0.1 * rung}, "rung": rung}
        append_jsonl(spec.paths.metrics, line)
    leave(spec, 0.5)
    record = spec.result()
    assert record is not None
    cell.settle(spec, record)
    trial = cell.trials.trial(0)
    assert trial.intermediate_values == {rung: pytest.approx(0.1 * rung) for rung in spec.rungs} != {}
    noted = [value for key, value in trial.system_attrs.items() if "completed_rung" in key]
    assert noted == ([] if pruner == "median" else [pytest.approx(0.1 * rung) for rung in spec.rungs])


def score(spec: RunSpec) -> float:
    """Depends on the method and the rate."""
    return {"bitfit": 0.5, "ia3": 0.7, "lora": 0.8}[spec.config["method"]["name"]] - abs(spec.config["train"]["lr"])


@pytest.mark.parametrize("space", [MANY, FEW])
@pytest.mark.parametrize("mode", ["joint", "fair"])
def test_a_search_in_batches_tries_what_it_tries_without(mode: str, space: dict[str, Any], tmp_path: Path) -> None:
    """With `auto` a trial starts beside others only where the sampler would not learn from them."""
    tried: dict[str, list[Any]] = {}
    sizes: dict[str, list[int]] = {}
    for batch in ("auto", "off"):
        config = Config(tune=TuneConfig(mode=mode, trials=12, startup_trials=4), launch=LaunchConfig(fuse=batch))
        made, records = schedulers(cells(dict.fromkeys(("bitfit", "ia3", "lora"), space)), config, tmp_path / batch)
        launcher = MadeUp(score)
        assert coordinate(made, launcher, config, records)
        tried[batch] = [
            (each.id, trial.number, trial.params, trial.values) for each in made for trial in each.trials.all()
        ]
        sizes[batch] = [len(batch) for batch in launcher.seen]
    assert tried["auto"] == tried["off"]
    assert max(sizes["auto"]) > 1 == max(sizes["off"])


@pytest.mark.parametrize(("batch", "together"), [("auto", 3), ("2", 2), ("off", 1)])
def test_where_jobs_have_a_number_of_runs_those_share_passes(batch: str, together: int, tmp_path: Path) -> None:
    """As on a cluster, whatever the sampler would learn: without packs they would be under way at once, too."""
    config = Config(tune=TuneConfig(trials=6), launch=LaunchConfig(fuse=batch))
    made, records = schedulers(cells({"lora": MANY}), config, tmp_path)
    launcher = MadeUp(score)
    launcher.runs_per_job, launcher.fuses = 3, batch != "off"
    assert coordinate(made, launcher, config, records)
    assert [len(runs) for runs in launcher.seen] == [3, 3, 1]
    assert launcher.together == [together, together, 1]


def test_where_only_seconds_end_the_tuning_the_work_is_not_known(tmp_path: Path) -> None:
    """So no worker is spared for lack of it; a finite space is known whatever ends it, and so are confirmations."""
    tune = TuneConfig(trials=None, seconds=5.0)
    (endless,), _ = schedulers(cells({"lora": MANY}), Config(tune=tune), tmp_path / "endless")
    (finite,), _ = schedulers(cells({"lora": FEW}), Config(tune=tune), tmp_path / "finite")
    confirmations = len(endless.confirmation.seeds)
    assert (endless.workload.left, finite.workload.left) == (float("inf"), 3 + confirmations)
    endless.tuning.close()
    assert endless.workload.left == confirmations


ASHA = Config(tune=TuneConfig(trials=9, pruner="asha", sampler="random"))


def test_a_trial_waits_at_a_rung_once_its_record_says_so(tmp_path: Path) -> None:
    """A run that was lost after its score, before its checkpoint and record, is started again."""
    (cell,), _ = schedulers(cells({"lora": MANY}), ASHA, tmp_path)
    spec = cell.next()
    assert spec is not None and spec.until is not None
    leave(spec, 0.5)
    spec.new_record("running").write(spec.paths.record)
    assert not cell.pause(spec) and not cell.tuning.paused
    (again,), _ = schedulers(cells({"lora": MANY}), ASHA, tmp_path)
    assert again.next() == spec
    leave(spec, 0.5)
    assert again.pause(spec) and again.tuning.paused == (spec,)


def test_a_trial_that_goes_on_is_not_looked_for_in_the_job_of_its_first_part(tmp_path: Path) -> None:
    """That job may still have others under way; whoever waited for it there would wait for ever."""
    (cell,), _ = schedulers(cells({"lora": MANY}), ASHA, tmp_path)
    first = {}
    while (spec := cell.next()) is not None and spec.trial not in first:
        first[spec.trial] = spec
        leave(spec, 0.5)
        assert cell.pause(spec)
    assert spec is not None and spec.until != first[spec.trial].until
    (again,), _ = schedulers(cells({"lora": MANY}), ASHA, tmp_path)
    assert not again.take_over(first[spec.trial])
    assert again.take_over(spec)
    assert not again.take_over(spec)


class Returning(MadeUp):
    """Has a job of an earlier coordinator under way, which ends after one of its runs has begun in another."""

    immediate = False
    capacity = 2

    def __init__(self, old: Job) -> None:
        super().__init__(score)
        self._old = [old]
        self._going: list[Job] = []

    def recover(self) -> list[Job]:
        return list(self._old)

    def submit(self, batch: RunBatch) -> Job:
        self.seen.append(batch.runs)
        self._going.append(Job(batch))
        return self._going[-1]

    def wait(self, seconds: float) -> list[Outcome]:
        begun = {run.directory for runs in self.seen for run in runs}
        if self._old and self._old[0].runs[0].directory in begun:
            leave(self._old[0].runs[1], score(self._old[0].runs[1]))
            return [Outcome(self._old.pop())]
        going, self._going = self._going, []
        for run in (run for job in going for run in job.runs):
            leave(run, score(run))
        return [Outcome(job) for job in going]


def test_an_old_job_is_not_heard_of_a_run_that_went_on_in_another(tmp_path: Path) -> None:
    """It paused before the coordinator was killed, was promoted by the next, and the job had another run to end."""
    (cell,), _ = schedulers(cells({"lora": MANY}), ASHA, tmp_path)
    begun = [spec for _ in range(4) if (spec := cell.next()) is not None]
    for spec in begun[:3]:
        leave(spec, score(spec))
        assert cell.pause(spec)
    old = Job(RunBatch((max(begun[:3], key=score), begun[3]), 2))
    (again,), records = schedulers(cells({"lora": MANY}), ASHA, tmp_path)
    launcher = Returning(old)
    assert coordinate([again], launcher, ASHA, records)
    parts = [(run.directory, run.until) for runs in (begun, *launcher.seen) for run in runs]
    assert len(set(parts)) == len(parts)


def test_trials_whose_time_was_up_before_they_went_on_say_so(tmp_path: Path) -> None:
    """They were not worse than others."""
    tune = TuneConfig(trials=None, seconds=8.0, pruner="asha", sampler="random")
    (cell,), records = schedulers(cells({"lora": MANY}), Config(tune=tune), tmp_path)
    assert coordinate([cell], MadeUp(score), Config(tune=tune), records)
    pruned = [record for record in records.all() if record.status == "pruned"]
    assert pruned and all("tune.seconds was spent" in (record.error or "") for record in pruned)


def test_under_a_budget_no_batch_starts_before_it_is_known_how_long_a_trial_takes(tmp_path: Path) -> None:
    """A pack takes as many times as long, and other workers would wait beside it."""
    config = Config(tune=TuneConfig(trials=9, sampler="random"), launch=LaunchConfig(fuse="4"))
    (cell,), records = schedulers(cells({"lora": MANY}), config, tmp_path)
    meter: Any = SimpleNamespace(seconds=0.0, dollars=None, slot_rate=None, tick=lambda: None)
    launcher = MadeUp(score)
    launcher.capacity = 2
    budget = Budget(BudgetConfig(seconds=1e6), meter, records, 2, pytest.fail)
    assert coordinate([cell], launcher, config, records, budget)
    assert [len(runs) for runs in launcher.seen][:2] == [1, 4]


def test_a_budget_says_with_trials_that_wait_why_they_do(tmp_path: Path) -> None:
    """They still say `running`, for a larger budget goes on with them."""
    (cell,), records = schedulers(cells({"lora": MANY}), ASHA, tmp_path)
    spec = cell.next()
    assert spec is not None
    leave(spec, 0.5)
    assert cell.pause(spec)
    meter: Any = SimpleNamespace(write=lambda *a, **k: None, dollars=None, seconds=7.0, slot_rate=None)
    budget = Budget(BudgetConfig(seconds=7.0), meter, records, 1, pytest.fail)
    budget.watch([cell])
    assert budget.end(finished=False, interrupted=False)[0] == "budget"
    record = records.refresh(spec.paths)
    assert record is not None and record.status == "running" and "budget.seconds=7" in (record.error or "")
