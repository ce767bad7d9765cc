"""One study over several methods: every default first, then trials where they pay; conditions within a space."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from harness.config.schema import Config, TuneConfig
from harness.design.cells import Cell
from harness.design.method_space import bind
from harness.design.prepared_cell import PreparedCell
from harness.design.search_space import Parameter, configurations, describe, size
from harness.design.study_file import _other_methods
from harness.errors import HarnessError
from harness.search.joint import check_joint, groups
from harness.search.joint_cell import MethodTrials
from harness.search.joint_trials import JointTrials
from harness.search.rungs import NO_RUNGS, Rungs
from harness.search.storage import open_storage
from harness.search.trials import Trials
from tests.design.test_search_space import read

BASE: dict[str, Any] = {
    "task": {"metric": "accuracy"},
    "train": {"lr": 1e-3, "schedule": "linear", "warmup": 0.06},
    "method": {"name": "x", "r": 8},
}
LR = {"train.lr": read("train.lr=tag(log,interval(1e-5,1e-1))")}
RANK = {"method.r": read("method.r=4,8,16")}


def config() -> DictConfig:
    return OmegaConf.merge(OmegaConf.structured(Config()), BASE)  # type: ignore[return-value] # both are mappings


def cell(method: str, space: dict[str, Parameter]) -> Cell:
    return Cell(f"demo.minilm.{method}", "demo", "minilm", method, {}, config(), space)


CELLS = [cell("bad", LR), cell("fixed", {}), cell("good", LR | RANK)]


def joint_trials(directory: Path, trials: int = 20, given_up: str = "") -> JointTrials:
    first = [[default] if (default := each.defaults()) is not None else [] for each in CELLS]
    return JointTrials(
        "study", CELLS, TuneConfig(trials=trials), first, open_storage(None, directory, pytest.fail), NO_RUNGS,
        {given_up: lambda: True},
    )  # fmt: skip


def by_method(joint: JointTrials) -> list[MethodTrials]:
    return [MethodTrials(joint, each) for each in joint.cells.values()]


def turn(joint: JointTrials) -> tuple[MethodTrials, Any] | None:
    """What the coordinator does: ask the cells in turn until one has something to start."""
    for trials in by_method(joint):
        if (found := trials.suggest()) is not None:
            return trials, found
    return None


def run(directory: Path, reopen: bool = False, **more: Any) -> tuple[JointTrials, list[tuple[str, dict[str, Any]]]]:
    joint, seen = joint_trials(directory, **more), []
    while not joint.quota.over and (found := turn(joint)) is not None:
        if reopen:  # as after a kill between asking and telling
            joint = joint_trials(directory, **more)
        trials, suggestion = found
        method = trials.cell.method
        value = {"bad": 0.5, "fixed": 0.6, "good": 0.9}[method] - abs(suggestion.values.get("train.lr", 2e-3) - 2e-3)
        joint.tell(suggestion.number, value)
        seen.append((method, suggestion.values))
    return joint, seen


def test_each_method_begins_with_its_default_and_the_best_gets_most_of_the_rest(tmp_path: Path) -> None:
    """The budget is that of all together; a method without a space is run once."""
    joint, seen = run(tmp_path, trials=24)
    assert [method for method, _ in seen[:3]] == ["bad", "fixed", "good"]
    assert seen[2][1] == {"train.lr": 1e-3, "method.r": 8}
    assert joint.quota.tried == 24
    methods = [method for method, _ in seen]
    assert by_method(joint)[1].quota.tried == 1
    assert methods[12:].count("good") > methods[12:].count("bad")
    assert joint.finalists()[0] == "good"
    assert len(joint.finalists()) == 2
    assert [trials.is_finalist for trials in by_method(joint)].count(True) == 2


def test_each_cell_sees_its_own_keys_and_trials_only(tmp_path: Path) -> None:
    """Numbers are those of the whole race."""
    joint, _ = run(tmp_path)
    good = by_method(joint)[2]
    assert good.all()[0].number == 2
    assert all(set(trial.params) == {"train.lr", "method.r"} for trial in good.all())
    assert good.trial(2).params == good.suggestion(2).values
    assert sum(len(trials.all()) for trials in by_method(joint)) == len(joint.all())
    assert good.complete()[0].values[0] == joint.complete()[0].values[0]


def test_a_race_resumed_after_every_trial_goes_on_as_the_uninterrupted_one(tmp_path: Path) -> None:
    """Sampling depends on (seed, study, trial number) and the told values only."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert run(tmp_path / "a")[1] == run(tmp_path / "b", reopen=True)[1]


def test_a_method_that_was_given_up_gets_no_more_trials(tmp_path: Path) -> None:
    """Its suggestions count for nothing; others get the budget."""
    joint, seen = run(tmp_path, given_up="good")
    assert all(method != "good" for method, _ in seen)
    assert joint.quota.tried == 20
    assert joint.finalists() == ["fixed", "bad"]
    (tmp_path / "new").mkdir()
    begun = joint_trials(tmp_path / "new", given_up="bad")
    assert [trials.quota.left for trials in by_method(begun)] == [0, 20, 0]


def test_a_repetition_of_a_paused_trial_does_not_keep_a_race_from_its_end(tmp_path: Path) -> None:
    """It is answered when that one is ended, which is once it can be said what is confirmed."""
    space = {"train.lr": read("train.lr=choice(1e-3,1e-2)")}
    cells = [cell("one", space), cell("two", space)]
    tune = TuneConfig(trials=4, pruner="asha", reduction_factor=2, startup_trials=2)
    rungs = Rungs("epochs", (1,), 2)
    joint = JointTrials("study", cells, tune, [[], []], open_storage(None, tmp_path, pytest.fail), rungs)
    repeated = 0
    while not joint.quota.over and (found := turn(joint)) is not None:
        _, suggestion = found
        if suggestion.duplicate_of is not None:
            repeated += 1
        elif joint.limit(suggestion.number) == 1:
            joint.report(suggestion.number, 1, 0.9 - 0.1 * suggestion.number)
        else:
            joint.tell(suggestion.number, 0.9)
    assert repeated and joint.paused()
    assert joint.outcome_known


def test_a_trial_that_no_budget_was_left_for_waits_for_a_larger_one(tmp_path: Path) -> None:
    """Its method is priced before it starts, and not started where that is too much; what was tried is confirmed."""
    joint = joint_trials(tmp_path)
    good, bad = by_method(joint)[2], by_method(joint)[0]
    assert good.suggest() is None  # the turn is another method's: its trial waits
    good.quota.close()
    assert bad.suggest(new=False) is None
    assert bad.outcome_known
    running = [trial.number for trial in joint_trials(tmp_path).all() if not trial.state.is_finished()]
    assert running == [0]  # what a larger budget begins with


def test_a_budget_that_leaves_methods_untried_is_refused() -> None:
    """Cells of another task compete among themselves."""
    other = Cell("mail.minilm.bad", "mail", "minilm", "bad", {}, config(), LR)
    assert [[each.method for each in group] for group in groups([*CELLS, other])] == [["bad", "fixed", "good"], ["bad"]]
    with pytest.raises(HarnessError, match=r"tune.trials=2 would not try each of 3 methods once.*tune.trials=9"):
        check_joint(CELLS, TuneConfig(mode="joint", trials=2))


SCHEDULE = {"train.schedule": read("train.schedule=linear,constant")}
WARMUP = {"train.warmup": read("train.warmup=0.0,0.06,0.1")}


def test_a_key_is_tuned_only_where_its_condition_holds(tmp_path: Path) -> None:
    """Define-by-run: warm-up belongs to the linear schedule, so there are four configurations, not six."""
    space = bind(WARMUP | SCHEDULE, {"train.warmup": {"train.schedule": "linear"}}, config())
    assert size(space) == 4
    assert {"train.schedule": "constant"} in list(configurations(space))
    trials = Trials("cell", space, TuneConfig(trials=50), True, [], open_storage(None, tmp_path, pytest.fail))
    while not trials.quota.over:
        suggestion = trials.ask()
        assert suggestion is not None
        assert ("train.warmup" in suggestion.values) == (suggestion.values["train.schedule"] == "linear")
        trials.tell(suggestion.number, 0.5)
    assert trials.quota.tried == 4
    assert "when" in describe(space)["train.warmup"]
    assert cell("x", space).defaults() == {"train.schedule": "linear", "train.warmup": 0.06}


def test_a_condition_on_a_key_that_is_not_tuned_is_settled_beforehand() -> None:
    """The key is tuned always or never."""
    held = bind(WARMUP, {"train.warmup": {"train.schedule": ["linear", "cosine"]}}, config())
    assert list(held) == ["train.warmup"]
    assert not held["train.warmup"].when
    assert bind(WARMUP, {"train.warmup": {"train.schedule": "constant"}}, config()) == {}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"train.schedule": "cubic"}, "never has that value"),
        ({"train.shedule": "linear"}, r"no key train\.shedule"),
        ({"train.lr": 1e-3}, r"put train\.lr before train\.warmup"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(condition: dict[str, Any], message: str) -> None:
    """The message repeats what was written."""
    conditions = {"train.warmup": condition, "train.lr": {"train.schedule": "linear"}}
    with pytest.raises(HarnessError, match=message):
        bind(SCHEDULE | WARMUP | LR, conditions, config())


def test_another_method_in_the_same_race_is_found_in_whichever_order_axes_are_named() -> None:
    """A study that holds a method more than the command is of another question; axes are equal in any order."""
    axes = {"regularise": "none", "augment": "noise"}
    swapped = dict(reversed(axes.items()))
    old = {"cells": [{"id": "a", "task": "demo", "model": "minilm", "variant": swapped}]}
    asked = Cell("b", "demo", "minilm", "other", axes, config(), LR)
    ready = PreparedCell(asked, {}, "", "", {}, ())
    assert _other_methods(old, [ready]) == ["a", "b"]
    assert len(groups([asked, replace(asked, id="c", variant=swapped)])) == 1
