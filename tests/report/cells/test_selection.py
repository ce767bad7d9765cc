"""What validation says of a choice, and when it says nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from harness.report.analysis.caveats import notes
from harness.report.analysis.verdicts import evidence
from harness.report.cells.cell_summary import rows
from harness.report.cells.selection import selection
from harness.report.cells.settings import Settings
from harness.report.reading.study import load
from tests.report.conftest import FACTS, Builder, asked

SPACE = {"train.lr": "interval(1e-4,1e-2)"}
DATA = FACTS | {"rows": {"train": 770, "validation": 385, "test": 3080}}


def tuned(
    study: Builder, trials: dict[str, Sequence[float | None]], test: float = 0.86, metric: str = "accuracy"
) -> None:
    """Write a study of cells with these validation scores by trial; None failed."""
    study.sweep([asked(f"demo.minilm.{name}", space=SPACE, metric=metric) for name in trials], confirm={"seeds": 1})
    for name, scores in trials.items():
        best = max(range(len(scores)), key=lambda trial: scores[trial] or 0.0)
        for trial, score in enumerate(scores):
            study.run(
                f"demo.minilm.{name}", f"t{trial}", trial=trial, hyperparameters={"train.lr": trial}, data=DATA,
                metrics={"val": {} if score is None else {metric: score}, "test": {}},
                status="failed" if score is None else "ok",
            )  # fmt: skip
        metrics = {"val": {}, "test": {metric: test}}
        run = {"phase": "confirm", "seed": 1, "hyperparameters": {"train.lr": best}, "metrics": metrics, "data": DATA}
        study.run(f"demo.minilm.{name}", "c1", **run)


def told(study: Builder) -> list[str]:
    loaded = load(study.directory)
    table = rows(loaded)
    found = evidence(loaded, table, Settings())
    return [note.text for note in notes(loaded, table, found) if note.kind == "Choice"]


def test_a_choice_that_is_noise_is_said_to_be(study: Builder) -> None:
    """Three rows of 385 are less than one standard error (6.4 rows); twenty are more; the default is no lead."""
    base = 330 / 385
    tuned(study, {"lora": [base, 333 / 385], "full": [base, 350 / 385], "ia3": [base, base - 0.01]})
    (first, second) = told(study)
    assert first == (
        "The choice of 1 of 3 tuned cells leads its default by less than one standard error of the validation rows, "
        "so another sample of rows may have chosen otherwise (in rows of 385): lora by 3."
    )
    assert second.startswith("The validation scores of 3 choices lie 1.7 points above their test scores on average")


def test_the_standard_error_is_that_of_the_rows(study: Builder) -> None:
    """Of accuracy, the binomial one; the gap to the test score is the winner's curse."""
    tuned(study, {"lora": [0.85, 0.87]})
    (row,) = rows(load(study.directory))
    found = selection(row)
    assert found is not None
    assert found.error == pytest.approx(math.sqrt(0.87 * 0.13 / 385))
    assert (found.default, found.rows) == (0.85, 385)
    assert (found.lead, found.gap) == (pytest.approx(0.02), pytest.approx(0.01))


def test_what_the_records_do_not_tell_stays_unknown(study: Builder) -> None:
    """A default that failed has no lead; other metrics have no error without predictions of test rows."""
    tuned(study, {"lora": [None, 0.87]}, metric="macro_f1")
    (row,) = rows(load(study.directory))
    found = selection(row)
    assert found is not None
    assert (found.default, found.lead, found.error, found.within_error) == (None, None, None, False)
    assert told(study) == []
