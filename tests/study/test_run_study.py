"""Whole small studies: validation by folds, a budget in seconds."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.study.test_survival import Study


def test_with_folds_confirmation_trains_on_all_shots_to_the_median_best_epoch(tmp_path: Path, cache: Path) -> None:
    """Tuning scores are means over the folds; confirmation has no validation rows left to choose an epoch with."""
    study = Study(
        tmp_path / "study", cache, "method=linear_probe,lora", "task.shots=6", "task.validation=kfold", "task.folds=3",
        "tune.trials=2", "launch.kind=inline",
    )  # fmt: skip
    code, printed = study.finish()
    assert code == 0, printed
    records = {(r["method"], r["phase"]): r for r in study.records()}
    tuned, confirmed = records["lora", "tune"], records["lora", "confirm"]
    assert tuned["metrics"]["val"]["accuracy"] is not None
    assert tuned["metrics"]["test"] == {}
    assert confirmed["metrics"]["val"] == {}
    assert confirmed["metrics"]["test"]["accuracy"] is not None
    assert confirmed["data"]["rows"]["train"] == 18
    (config, *_) = study.runs.glob("csv.minilm.lora/confirm-*/config.yaml")
    assert 1 <= yaml.safe_load(config.read_text())["train"]["stop_epoch"] <= 3


def test_a_budget_in_seconds_ends_tuning_when_it_is_spent(tmp_path: Path, cache: Path) -> None:
    """The run that passes it is the last; each cell has its own."""
    study = Study(
        tmp_path / "study", cache, "method=linear_probe", "tune.trials=null", "tune.seconds=0.5", "confirm.seeds=1",
        "launch.kind=inline",
    )  # fmt: skip
    code, printed = study.finish()
    assert code == 0, printed
    spent = [r["cost"]["total_seconds"] for r in study.records() if r["phase"] == "tune"]
    assert sum(spent) >= 0.5
    assert sum(spent[:-1]) < 0.5  # records come in the order of the trials
