"""Hyperparameter importance of a cell's tuning."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.study.cell_scheduler import CellScheduler
from harness.study.importance import importances, write_importances

SPACE = {
    "train.lr": FloatDistribution(1e-5, 1e-1, log=True),
    "train.epochs": IntDistribution(1, 8),
    "train.schedule": CategoricalDistribution(("linear", "cosine")),
}


def trials(count: int, sign: float = 1.0) -> list[FrozenTrial]:
    """Trials whose score depends on the learning rate, and hardly on anything else."""
    draw = random.Random(1)
    found = []
    for _ in range(count):
        exponent = draw.uniform(-5, -1)
        params: dict[str, Any] = {
            "train.lr": 10**exponent, "train.epochs": draw.randint(1, 8),
            "train.schedule": draw.choice(["linear", "cosine"]),
        }  # fmt: skip
        value = sign * (0.9 - 0.1 * (exponent + 3) ** 2 + draw.gauss(0, 0.001))
        found.append(create_trial(state=TrialState.COMPLETE, value=value, params=params, distributions=SPACE))
    return found


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("count", [15, 60])
def test_the_hyperparameter_that_decides_comes_first(maximize: bool, count: int) -> None:
    """In both directions, with the fewest trials and with many; shares sum to 1."""
    found = importances(trials(count, 1.0 if maximize else -1.0), list(SPACE), maximize)
    assert isinstance(found, dict)
    assert next(iter(found)) == "train.lr"
    assert set(found) == set(SPACE)
    assert sum(found.values()) == pytest.approx(1)


def test_only_the_score_counts_where_costs_are_lowered_too() -> None:
    """Trials of a study with objectives hold several values."""
    scored = trials(20)
    both = [
        create_trial(values=[*each.values, each.params["train.epochs"]], params=each.params, distributions=SPACE)
        for each in scored
    ]
    assert importances(both, list(SPACE), True) == importances(scored, list(SPACE), True)


def test_says_why_it_cannot_be_measured() -> None:
    """Too few trials, nothing or one thing tuned, no difference between trials."""
    assert importances(trials(9), list(SPACE), True) == "Only 9 trials have a score; it takes 15."
    assert (
        importances(trials(20), ["train.lr"], True) == "One hyperparameter was tuned, so there is nothing to compare."
    )
    assert importances(trials(20), [], True) == "Nothing was tuned, so there is nothing to compare."
    same = trials(20)
    for trial in same:
        trial.value = 0.5
    assert importances(same, list(SPACE), True) == "All trials have the same score."


def test_study_gets_one_file(tmp_path: Path) -> None:
    """An entry a cell: shares, or the reason."""
    schedulers = [
        SimpleNamespace(
            id=name,
            prepared=SimpleNamespace(replicate=0),
            trials=SimpleNamespace(complete=lambda count=count: trials(count)),
            cell=SimpleNamespace(space=SPACE, maximize=True),
        )
        for name, count in (("task.model.lora", 20), ("task.model.full", 3))
    ]
    write_importances(tmp_path, cast(list[CellScheduler], schedulers))
    written = json.loads((tmp_path / "importances.json").read_text(encoding="utf-8"))
    assert next(iter(written["task.model.lora"])) == "train.lr"
    assert written["task.model.full"].startswith("Only 3 trials")
