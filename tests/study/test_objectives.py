"""Costs beside the metric, limits on costs, and configurations of earlier studies."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.schema import Config, LimitsConfig, TuneConfig
from harness.config.validation import check
from harness.design.prepared_cell import PreparedCell
from harness.errors import HarnessError, Problems
from harness.records.files import write_json
from harness.records.record import Record
from harness.search.storage import open_storage
from harness.search.trial_result import reason_without_selection, trial_result
from harness.search.trials import Trials
from harness.study.warm_start import warm_starts
from tests.search.test_joint import LR, RANK, cell

SPACE = LR | RANK


def record(value: float = 0.8, **cost: float | None) -> Record:
    return Record(
        signature="s", status="ok", study="old", cell="other.minilm.good", phase="tune", task="other", model="minilm",
        method="good", seed=0, metrics={"val": {"accuracy": value}, "test": {}}, cost=dict(cost),
    )  # fmt: skip


def trials(directory: Path, tune: TuneConfig, first: list[dict[str, Any]] | None = None) -> Trials:
    return Trials("cell", SPACE, tune, True, first or [], open_storage(None, directory, pytest.fail))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_study_with_a_cost_is_sampled_alike_after_every_interruption(tmp_path: Path, sampler: str) -> None:
    """Also where the sampler keeps generations; the best by the metric comes first."""
    seen = []
    for name in ("straight", "reopened"):
        (tmp_path / name).mkdir()
        tune = TuneConfig(trials=14, sampler=sampler, objectives=["train_seconds"], startup_trials=4)
        study, values = trials(tmp_path / name, tune), []
        while not study.quota.over:
            suggestion = study.ask()
            assert suggestion is not None
            if name == "reopened":
                study = trials(tmp_path / name, tune)
            study.tell(suggestion.number, -suggestion.values["train.lr"], costs=[suggestion.values["method.r"]])
            values.append(suggestion.values)
        best = study.complete()
        assert [trial.values[0] for trial in best] == sorted((trial.values[0] for trial in best), reverse=True)
        seen.append(values)
    assert seen[0] == seen[1]


def test_a_configuration_above_a_limit_is_never_the_best_and_the_search_avoids_such(tmp_path: Path) -> None:
    """Ranks above 4 score higher, and break the limit; limits survive a restart."""
    tune = TuneConfig(trials=30, constraints=LimitsConfig(saved_bytes=4), startup_trials=6)
    study = trials(tmp_path, tune)
    while not study.quota.over:
        suggestion = study.ask()
        assert suggestion is not None
        rank = suggestion.values["method.r"]
        answer = trial_result(record(0.1 * rank, saved_bytes=rank), "accuracy", tune)
        study.tell(suggestion.number, answer.value, costs=answer.costs, excess=answer.excess)
    again = trials(tmp_path, tune).complete()
    assert again
    assert {trial.params["method.r"] for trial in again} == {4}
    late = [trial.params["method.r"] for trial in study.all()[15:]]
    assert late.count(4) > len(late) / 2


def test_a_cost_that_was_not_measured_is_no_answer() -> None:
    """Nothing stands in for it; the sentence names it, or the limit that nothing keeps."""
    tune = TuneConfig(objectives=["train_seconds"], constraints=LimitsConfig(peak_memory_mb=100))
    assert trial_result(record(train_seconds=1.0), "accuracy", tune).value is None
    assert "peak_memory_mb could not be measured" in reason_without_selection([record(train_seconds=1.0)], tune)
    full = record(train_seconds=1.0, peak_memory_mb=150.0)
    assert trial_result(full, "accuracy", tune).excess == {"peak_memory_mb": 0.5}
    assert "peak_memory_mb of 150 at least, allowed are 100" in reason_without_selection([full], tune)


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"objectives": ["dollars"]}, r"tune\.objectives: dollars is not measured in tuning\. Known: .*latency_p50"),
        ({"constraints": LimitsConfig(saved_bytes=0)}, "saved_bytes must be above 0"),
        ({"objectives": ["saved_bytes"], "pruner": "median"}, "compares one curve"),
        ({"mode": "joint", "sampler": "gp"}, "several methods' spaces"),
        ({"pruner": "asha", "sampler": "gp"}, r"gp learns only from .* Use tpe, .* or random, qmc or grid"),
        ({"pruner": "asha", "sampler": "nsga2"}, "nsga2 learns only from"),
    ],
)
def test_what_cannot_be_searched_is_refused(tune: dict[str, Any], message: str) -> None:
    """Before anything runs."""
    problems = Problems()
    check(Config(tune=TuneConfig(**tune)), problems)
    with pytest.raises(HarnessError, match=message):
        problems.raise_any()


@pytest.mark.parametrize(
    ("pruner", "sampler"),
    [("asha", "tpe"), ("asha", "random"), ("asha", "qmc"), ("asha", "grid"), ("median", "gp"), ("none", "nsga2")],
)
def test_samplers_that_learn_from_what_a_pruner_leaves_are_not_refused(pruner: str, sampler: str) -> None:
    """Nor those that learn from nothing."""
    problems = Problems()
    check(Config(tune=TuneConfig(pruner=pruner, sampler=sampler)), problems)
    problems.raise_any()


def _earlier(directory: Path, *found: tuple[float, dict[str, Any]]) -> None:
    config = {"train": {"lr": 1e-3}, "method": {"r": 8}}
    entry = {"id": "other.minilm.good", "metric": "accuracy", "direction": "maximize", "config": config}
    directory.mkdir(parents=True)
    (directory / "sweep.yaml").write_text(yaml.safe_dump({"cells": [entry]}))
    for number, (value, hyperparameters) in enumerate(found):
        one = record(value)
        one.trial, one.hyperparameters = number, hyperparameters
        write_json(directory / f"runs/other.minilm.good/trial{number:04d}/record.json", asdict(one))


def test_a_study_begins_with_what_the_earlier_one_chose(tmp_path: Path) -> None:
    """What broke its limits was not chosen; of equals the one of the lower loss was."""
    _earlier(tmp_path / "old", *[(0.9, {"train.lr": 1e-3 * n, "method.r": 8}) for n in (2, 3, 4)])
    for number, (loss, memory) in enumerate([(0.3, 900.0), (0.5, 100.0), (0.4, 100.0)]):
        path = tmp_path / f"old/runs/other.minilm.good/trial{number:04d}/record.json"
        content = json.loads(path.read_text())
        content["metrics"]["val"]["loss"], content["cost"] = loss, {"peak_memory_mb": memory}
        path.write_text(json.dumps(content))
    asked = tmp_path / "old" / "sweep.yaml"
    limits = {"tune": {"constraints": {"peak_memory_mb": 500}}}
    asked.write_text(yaml.safe_dump(yaml.safe_load(asked.read_text()) | limits))
    found, _ = warm_starts([_ready()], _config(tmp_path, "old"), tmp_path / "new")
    assert [each.trial for each in found["demo.minilm.good"]] == [2]


def _ready(method: str = "good") -> PreparedCell:
    return PreparedCell(cell(method, SPACE), {}, "data", "model", {}, ())


def _config(tmp_path: Path, *studies: str) -> Config:
    return Config(tune=TuneConfig(warm_start=list(studies)), runs_dir=str(tmp_path))


def test_the_best_of_an_earlier_study_is_tried_after_the_default(tmp_path: Path) -> None:
    """Of another task too; what it did not tune has the value that it had there; sweep.yaml says whence it came."""
    _earlier(tmp_path / "old", (0.7, {"train.lr": 3e-3}), (0.9, {"train.lr": 5e-3}), (0.8, {"train.lr": 1e-2}))
    found, unused = warm_starts([_ready(), _ready("another")], _config(tmp_path, "old"), tmp_path / "new")
    assert unused == ["demo.minilm.another begins with nothing of old: no trial of method=another there."]
    (start,) = found["demo.minilm.good"]
    assert list(found) == ["demo.minilm.good"]
    assert start.encoded == {"train.lr": 5e-3, "method.r": 8}
    assert start.described["trial"] == 1
    assert "the best of other.minilm.good in old (trial 1, val accuracy 0.9000)" in str(start)
    default = cell("good", SPACE).defaults()
    assert default is not None
    study = trials(tmp_path, TuneConfig(), [default, start.encoded])
    suggested = [study.ask() for _ in range(2)]
    assert [each.values for each in suggested if each] == [default, start.encoded]


def test_a_joint_study_shares_what_earlier_studies_may_fill(tmp_path: Path) -> None:
    """Half of the budget of all methods together, not of each."""
    for number in range(4):
        _earlier(tmp_path / f"old{number}", (0.9, {"train.lr": (number + 2) * 1e-3}))
    config = _config(tmp_path, *(f"old{number}" for number in range(4)))
    config.tune.trials = 8
    both = [_ready(), _ready("another")]
    assert len(warm_starts(both, config, tmp_path / "new")[0]["demo.minilm.good"]) == 4
    config.tune.mode = "joint"
    assert len(warm_starts(both, config, tmp_path / "new")[0]["demo.minilm.good"]) == 2


def test_a_study_that_was_begun_goes_on_without_the_earlier_one(tmp_path: Path) -> None:
    """What it began with is in its own sweep.yaml."""
    _earlier(tmp_path / "old", (0.9, {"train.lr": 5e-3}))
    found, _ = warm_starts([_ready()], _config(tmp_path, "old"), tmp_path / "new")
    entry = {"id": "demo.minilm.good", "warm_start": [each.described for each in found["demo.minilm.good"]]}
    (tmp_path / "new").mkdir()
    (tmp_path / "new/sweep.yaml").write_text(yaml.safe_dump({"cells": [entry]}))
    (tmp_path / "old").rename(tmp_path / "gone")
    assert warm_starts([_ready()], _config(tmp_path, "old"), tmp_path / "new")[0] == found


def test_a_configuration_outside_the_space_is_named_and_left_out(tmp_path: Path) -> None:
    """So is one with another value of a key that is fixed here."""
    _earlier(tmp_path / "far", (0.9, {"train.lr": 0.5}))
    _earlier(tmp_path / "other", (0.9, {"train.lr": 1e-2, "train.schedule": "constant"}))
    found, unused = warm_starts([_ready()], _config(tmp_path, "far", "other"), tmp_path / "new")
    assert found == {}
    assert "outside this search space" in unused[0]
    assert "there train.schedule was constant, here it is linear" in unused[1]


def test_an_earlier_study_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """And one without a tuning run that ended well."""
    _earlier(tmp_path / "empty")
    (tmp_path / "empty/runs").mkdir()
    with pytest.raises(HarnessError, match=r"no study lost.*\n?.*empty holds no tuning run") as caught:
        warm_starts([_ready()], _config(tmp_path, "lost", "empty"), tmp_path / "new")
    assert "Known: empty" in str(caught.value)
