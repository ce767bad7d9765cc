"""One cell's Optuna study: deterministic whatever happens to the process, every sampler alike."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.schema import TuneConfig
from harness.design.search_space import Parameter, check_sampler
from harness.errors import HarnessError
from harness.search.samplers import startup_trials
from harness.search.storage import open_storage
from harness.search.trials import Trials
from tests.design.test_search_space import read

CONTINUOUS = {"lr": read("lr=tag(log,interval(1e-5,1e-2))"), "r": read("r=4,8,16")}
FINITE = {"r": read("r=4,8"), "n": read("n=range(1,4)")}
SAMPLERS = [
    ("tpe", CONTINUOUS),
    ("random", CONTINUOUS),
    ("qmc", CONTINUOUS),
    ("gp", CONTINUOUS),
    ("tpe", FINITE),
    ("random", FINITE),
    ("grid", FINITE),
]


def score(values: dict[str, float]) -> float:
    return -abs(values.get("lr", 0.0) - 2e-3) + 1e-5 * values["r"] + 1e-6 * values.get("n", 0)


def opener(directory: Path, space: dict[str, Parameter], tune: TuneConfig) -> Callable[[], Trials]:
    defaults = {"lr": 1e-3, "r": 8} if "lr" in space else {"r": 8, "n": 1}
    return lambda: Trials("cell", space, tune, True, [defaults], open_storage(None, directory, pytest.fail))


def tune_all(open_trials: Callable[[], Trials], reopen: bool) -> list[tuple[int, dict[str, float], int | None]]:
    trials = open_trials()
    seen = []
    while trials.quota.tried < 10 and not trials.quota.exhausted:
        suggestion = trials.ask()
        if reopen:  # as after a kill between asking and telling
            trials = open_trials()
            assert [trial.number for trial in trials.all() if not trial.state.is_finished()] == [suggestion.number]
            assert trials.suggestion(suggestion.number) == suggestion
        seen.append((suggestion.number, suggestion.values, suggestion.duplicate_of))
        trials.tell(suggestion.number, score(suggestion.values))
    return seen


@pytest.mark.parametrize(("sampler", "space"), SAMPLERS)
def test_a_study_resumed_after_every_trial_suggests_what_the_uninterrupted_one_does(
    tmp_path: Path, sampler: str, space: dict[str, Parameter]
) -> None:
    """Sampling depends on (seed, cell, trial number) and the told values only."""
    tune = TuneConfig(trials=10, sampler=sampler)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    straight = tune_all(opener(tmp_path / "a", space, tune), reopen=False)
    resumed = tune_all(opener(tmp_path / "b", space, tune), reopen=True)
    assert straight == resumed
    assert straight[0][1] == ({"lr": 1e-3, "r": 8} if "lr" in space else straight[0][1])


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_finite_space_is_searched_to_its_end_and_no_further(tmp_path: Path, sampler: str) -> None:
    """Six configurations: six trials count, whatever the sampler repeats in between."""
    trials = opener(tmp_path, FINITE, TuneConfig(trials=100, sampler=sampler))()
    while not trials.quota.exhausted:
        suggestion = trials.ask()
        trials.tell(suggestion.number, score(suggestion.values))
    assert trials.quota.tried == 6
    assert len({tuple(trials.suggestion(t.number).values.items()) for t in trials.all()}) == 6


def test_trial_0_is_the_documented_default(tmp_path: Path) -> None:
    """So that tuning never ends below what a user gets untuned (on validation data)."""
    trials = opener(tmp_path, CONTINUOUS, TuneConfig())()
    assert trials.ask().values == {"lr": 1e-3, "r": 8}


def test_a_duplicate_names_the_trial_it_repeats_and_does_not_count(tmp_path: Path) -> None:
    """The coordinator then tells the stored value instead of training again."""
    trials = opener(tmp_path, {"r": read("r=4,8,16,32")}, TuneConfig(trials=100, sampler="random"))()
    suggestions = []
    while not trials.quota.exhausted:
        suggestion = trials.ask()
        trials.tell(suggestion.number, 0.5)
        suggestions.append(suggestion)
    repeats = [s for s in suggestions if s.duplicate_of is not None]
    assert repeats
    assert all(s.values == suggestions[s.duplicate_of].values for s in repeats if s.duplicate_of is not None)
    assert trials.quota.tried == 4


def test_the_best_is_first_and_the_earliest_among_equals(tmp_path: Path) -> None:
    """Failures and non-finite values have no place among them."""
    trials = opener(tmp_path, CONTINUOUS, TuneConfig())()
    for value in (0.5, None, float("nan"), 0.7, 0.7):
        trials.tell(trials.ask().number, value)
    assert [trial.number for trial in trials.complete()] == [3, 4, 0]


def test_start_up_trials_scale_with_the_budget_and_stay_what_the_study_began_with(tmp_path: Path) -> None:
    """An extended study goes on as it began."""
    assert [startup_trials(TuneConfig(trials=n)) for n in (4, 12, 24, 100)] == [4, 4, 8, 10]
    open_small = opener(tmp_path, CONTINUOUS, TuneConfig(trials=12))
    assert open_small().startup == 4
    assert opener(tmp_path, CONTINUOUS, TuneConfig(trials=24))().startup == 4


def test_grid_refuses_a_continuous_space() -> None:
    """Naming the key and what to write instead."""
    with pytest.raises(HarnessError, match=r"grid needs a finite space, but in demo\.x.* lr=.*Give choices"):
        check_sampler(TuneConfig(sampler="grid"), "demo.x", CONTINUOUS)
