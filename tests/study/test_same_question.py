"""A/A: studies that differ in their name, or in the methods beside, have the same trials, scores and choices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.study.test_survival import Study


def answers(study: Study, methods: set[str]) -> dict[str, Any]:
    """What a study tried and chose for some methods: numbers, configurations, scores, signatures."""
    code, printed = study.finish()
    assert code == 0, printed
    runs = sorted(
        (record["cell"], record["phase"], record["trial"] or 0, record["seed"], record["signature"],
         json.dumps([record["hyperparameters"], record["metrics"]]))
        for record in study.records()
        if record["method"] in methods
    )  # fmt: skip
    choices = json.loads((study.runs.parent / "choices.json").read_text())
    return {
        "runs": runs,
        "choices": {cell: choice for cell, choice in choices.items() if cell.split(".")[-1] in methods},
    }


def test_a_study_with_another_name_order_and_methods_has_the_same_answer(tmp_path: Path, cache: Path) -> None:
    """So a method compared with itself is never better than itself."""
    same = "tune.trials=3", "confirm.seeds=1", "launch.kind=inline"
    one = Study(tmp_path / "one", cache, "method=knn,linear_probe", *same, name="one")
    other = Study(tmp_path / "two", cache, "method=linear_probe,nearest_mean,knn", *same, name="another")
    found = answers(one, {"knn", "linear_probe"})
    assert len(found["runs"]) == 8
    assert found == answers(other, {"knn", "linear_probe"})
