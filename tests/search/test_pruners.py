"""Optuna's pruners as a study uses them: whom they end, and that runs of a job are judged together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.config.schema import TuneConfig
from harness.search.rungs import Rungs
from harness.search.storage import open_storage
from harness.search.trials import Trials
from tests.search.test_trials import CONTINUOUS

NINE = Rungs("epochs", (1, 3), 9)


def trials(directory: Path, tune: TuneConfig, rungs: Rungs) -> Trials:
    return Trials(
        "cell", CONTINUOUS, tune, True, [{"lr": 1e-3, "r": 8}], open_storage(None, directory, pytest.fail), rungs
    )


def should_prune(of: Trials, curve: Sequence[float], end: bool = True) -> int | None:
    """Let a trial report a curve; the rung at which it is given up, None if it comes to its end."""
    number = of.ask().number
    for rung, value in zip(of.rungs.at, curve, strict=True):
        of.report(number, rung, value)
        if of.should_prune(number):
            of.tell(number, None, pruned=True)
            return rung
    if end:
        of.tell(number, curve[-1])
    return None


def test_the_median_ends_what_is_worse_than_most(tmp_path: Path) -> None:
    """After the start-up trials, a curve below the median of a rung is ended there; one above is not."""
    study = trials(tmp_path, TuneConfig(trials=12, pruner="median"), Rungs("epochs", (1, 2), 3))
    assert [should_prune(study, [level, level]) for level in (0.5, 0.6, 0.7, 0.8)] == [None] * 4
    assert should_prune(study, [0.4, 0.9]) == 1
    assert should_prune(study, [0.9, 0.5]) is None  # its best so far counts, not a dip


def test_patience_spares_a_curve_that_still_rises(tmp_path: Path) -> None:
    """Below the median, but better than before: it goes on; one that has stopped rising is ended."""
    study = trials(tmp_path, TuneConfig(trials=12, pruner="patient", patience=1), Rungs("epochs", (1, 2, 3, 4), 5))
    for level in (0.5, 0.6, 0.7, 0.8):
        assert should_prune(study, [level] * 4) is None
    assert should_prune(study, [0.1, 0.2, 0.3, 0.4]) is None
    assert should_prune(study, [0.4, 0.3, 0.2, 0.1]) == 3


@pytest.mark.parametrize("pruner", ["hyperband", "successive_halving"])
def test_successive_halving_ends_the_worse_trials_at_rungs_the_same_after_a_restart(
    tmp_path: Path, pruner: str
) -> None:
    """Optuna's: the first comers pass, most of the later and worse ones do not; a reopened study judges alike."""
    tune = TuneConfig(trials=40, pruner=pruner)
    ended = []
    for name, reopen in (("straight", False), ("resumed", True)):
        (tmp_path / name).mkdir()
        study = trials(tmp_path / name, tune, NINE)
        found = []
        for place in range(24):
            level = 0.9 - 0.03 * place
            found.append(should_prune(study, [level, level]))
            if reopen:
                study = trials(tmp_path / name, tune, NINE)
        ended.append(found)
    assert ended[0] == ended[1]
    assert ended[0][0] is None
    assert sum(rung is not None for rung in ended[0]) > 12


def test_a_pruned_trial_keeps_what_it_reported(tmp_path: Path) -> None:
    """In the storage, for samplers and dashboards."""
    study = trials(tmp_path, TuneConfig(trials=12, pruner="median"), NINE)
    for level in (0.5, 0.6, 0.7, 0.8, 0.1):
        should_prune(study, [level, level])
    again = trials(tmp_path, TuneConfig(trials=12, pruner="median"), NINE)
    assert again.trial(4).intermediate_values == {1: 0.1}
    assert again.trial(4).state.name == "PRUNED"
