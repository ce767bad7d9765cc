"""Runs that failed or collapsed count: in the sentence, in the verdicts, in columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.report.analysis.verdicts import Evidence
from harness.report.cells.settings import Settings
from harness.report.tables.columns import FIELDS, cases
from harness.tasks.text_classification.report.baseline import baseline
from harness.tasks.text_regression.report.baseline import baseline as mean_of_numbers
from tests.report.analysis.compared import ROWS, judged, make, words
from tests.report.conftest import Builder


@pytest.fixture
def diverging(study: Builder) -> Builder:
    """Give a study whose best and cheapest cell lost two of five runs."""
    make(study, {"diverges": (0.93, 1.0), "steady": (0.9, 40.0)})
    for seed in (4, 5):
        path = next(study.directory.glob(f"runs/*diverges/c{seed}/record.json"))
        crash(path)
    return study


def crash(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace('"status": "ok"', '"status": "failed"')
    path.write_text(text.replace('"error": null', '"error": "not finite"'), encoding="utf-8")
    path.with_name("predictions.parquet").unlink()


def column(found: Evidence, name: str, method: str) -> object:
    rows = [row for question in found.questions for row in question.rows]
    return next(FIELDS[name].value(case) for case in cases(rows, found) if case.row.cell.method == method)


def test_a_cell_with_crashed_runs_is_not_recommended_in_silence(diverging: Builder) -> None:
    """The audit's case: as the most frequent class its failed runs cost the cell every good verdict."""
    found = judged(diverging)
    said = found.summary[0]
    assert "choose diverges" not in said and words(found)["diverges"] != "better"
    assert "2 of 5 runs of diverges failed." in said
    assert "Verdicts count them as the most frequent class: the mean of diverges is then 75.9 %." in said
    assert found.questions[0].best is not None and found.questions[0].best.cell.method == "steady"


def test_other_ways_to_count_are_said(diverging: Builder) -> None:
    """Whoever leaves failures out, or counts them as the worst seed, reads it beside the choice."""
    excluded = judged(diverging, Settings(failed_as="excluded")).summary[0]
    assert "choose diverges" in excluded
    assert "2 of 5 runs of diverges failed. Verdicts leave them out." in excluded
    worst = judged(diverging, Settings(failed_as="worst")).summary[0]
    assert "choose diverges" in worst and "Verdicts count them as the cell's worst seed" in worst


def test_columns_of_failures(diverging: Builder) -> None:
    """Failure rate, worst seed, and the mean with the failures in it."""
    found = judged(diverging)
    assert column(found, "failure_rate", "diverges") == pytest.approx(0.4)
    assert column(found, "failure_rate", "steady") == 0
    assert column(found, "worst_seed", "steady") == min(_scores(found, "steady"))
    assert column(found, "counted_mean", "diverges") == pytest.approx(0.6 * np.mean(_scores(found, "diverges")) + 0.2)


def test_a_collapsed_run_is_counted_as_such(study: Builder) -> None:
    """A run that gives one class only has a score; the sentence says what it is."""
    make(study, {"a": (0.93, 1.0), "b": (0.9, 40.0)})
    record = next(study.directory.glob("runs/*b/c3/record.json"))
    study.predictions(record, [("card", "cash")[row % 2] for row in range(ROWS)], ["card"] * ROWS)
    said = judged(study).summary[0]
    assert "1 of 5 runs of b collapsed (not above the most frequent class)." in said


@pytest.mark.parametrize(
    ("metric", "value"), [("accuracy", 0.6), ("mcc", 0.0), ("auroc", 0.5), ("ece", 0.0), ("loss", 0.673)]
)
def test_the_baseline_of_classification(metric: str, value: float) -> None:
    """The most frequent class, with the classes' shares as probabilities."""
    labels = np.array(["no"] * 60 + ["yes"] * 40, dtype=object)
    assert baseline(labels, metric).mean() == pytest.approx(value, abs=1e-3)


def test_the_baseline_of_regression() -> None:
    """The mean: its squared error is the variance, and its correlation is 0."""
    labels = np.array([1.0, 2.0, 3.0, 6.0])
    assert mean_of_numbers(labels, "mse").mean() == pytest.approx(labels.var())
    assert mean_of_numbers(labels, "spearman").mean() == 0


def _scores(found: Evidence, method: str) -> tuple[float, ...]:
    return next(row.test_values for row in found.questions[0].rows if row.cell.method == method)
