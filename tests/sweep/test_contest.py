"""A cell's way through a study: what its trials are told, and when its runs may start."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import TrialState

from harness.config import Config, TuneConfig
from harness.sweep.reconcile import prune
from tests.sweep.contests import cells, contests, leave
from tests.sweep.test_space import read

FEW = {"train.lr": read("train.lr=choice(1e-3,1e-2,1e-1)")}


def test_a_repetition_of_a_pruned_trial_has_no_score(tmp_path: Path) -> None:
    """What the pruned one was last judged by is that of a part of a run, and would compete with whole ones."""
    tune = TuneConfig(trials=3, pruner="median", sampler="random", seed=3)
    (cell,) = contests(cells({"lora": FEW}), Config(tune=tune), tmp_path)
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
