"""The sentence of the recommendation: it says nothing that its data does not support."""

from __future__ import annotations

import json

import pytest
import yaml

from harness.formatting.values import difference
from harness.report.cells.settings import Settings
from tests.report.analysis.compared import judged, make, words
from tests.report.conftest import Builder, asked

CELL = "banking77.minilm."


def test_a_tuned_cell_that_waits_for_confirmation_may_be_better(study: Builder) -> None:
    """The audit's case: the best of tuning has no test score yet, so every verdict is "so far", and it is named."""
    make(study, {"a": (0.93, 40.0), "b": (0.6, 1.0)}, seeds=3)
    add(study, "c", 0.99)
    said = judged(study).summary[0]
    assert "so far (2 of 3 cells tested), choose a" in said
    assert "better than every other cell that was compared" in said
    assert "Not confirmed yet, so it may be better: c (99.0 % in validation)" in said


def test_a_cell_with_one_of_three_seeds_is_not_settled(study: Builder) -> None:
    """Missing confirmations are told, whatever the scores of those that ended."""
    make(study, {"a": (0.93, 40.0), "b": (0.6, 1.0)}, seeds=3)
    for seed in (2, 3):
        next(study.directory.glob(f"runs/*b/c{seed}/record.json")).unlink()
    said = judged(study).summary[0]
    assert "so far (2 of 2 cells tested)" in said and "Confirmed in part: b (1 of 3 seeds)." in said


def test_looks_wait_for_cells_that_are_not_confirmed(study: Builder) -> None:
    """While a cell waits, the others do not count as if they got no more seeds."""
    looks = {"seeds": [1, 2, 3], "looks": [3, 12]}
    make(study, {"a": (0.9, 40.0), "b": (0.899, 1.0)}, seeds=3, confirm=looks)
    margin = Settings(margin=0.003)
    assert "some verdicts stay open" in judged(study, margin).questions[0].looks
    add(study, "c", 0.99)
    assert "more seeds are wanted" in judged(study, margin).questions[0].looks


def test_looks_that_ended_for_futility_say_so(study: Builder) -> None:
    """Seeds that are left but would settle nothing are not added, and what would is said."""
    looks = {"seeds": [1, 2, 3], "looks": [3, 5]}
    make(study, {"a": (0.9, 40.0), "b": (0.899, 1.0)}, seeds=3, confirm=looks)
    add(study, "c", 0.99)
    assert (
        "no more were added, since the seeds that were left" in judged(study, Settings(margin=1e-4)).questions[0].looks
    )


def test_looks_name_the_cells_that_get_no_seeds(study: Builder) -> None:
    """Cells whose first seeds scored every row alike get none, whether they are deterministic or only accurate."""
    make(study, {"a": (0.9, 40.0), "b": (0.6, 1.0)}, seeds=3, confirm={"seeds": [1, 2, 3], "looks": [3, 5]})
    labels = ["card", "cash"] * 500
    for record in study.directory.glob("runs/*b/*/record.json"):
        study.predictions(record, labels, ["card"] * 1000)
    looks = judged(study).questions[0].looks
    assert "None were added to b: the first 3 seeds had the same score on every test row." in looks


def test_the_finalists_of_a_joint_study_are_all_there_is(study: Builder) -> None:
    """Methods that a joint study did not confirm will never be, so they make nothing "so far"."""
    make(study, {"a": (0.93, 40.0), "b": (0.6, 1.0)}, seeds=3, tune={"mode": "joint"})
    chosen = {f"{CELL}{name}": {"signatures": [f"{CELL}{name}{seed}" for seed in (1, 2, 3)]} for name in "ab"}
    (study.directory / "choices.json").write_text(json.dumps(chosen), encoding="utf-8")
    study.run(f"{CELL}c", "t0", trial=0, metrics={"val": {"accuracy": 0.99}, "test": {}})
    assert "so far" not in judged(study).summary[0]


def test_the_typical_gap_is_the_median(study: Builder) -> None:
    """One wild cell does not make the data look blind."""
    make(study, {"a": (0.9, 4.0), "b": (0.899, 3.0), "c": (0.898, 2.0)}, seeds=3)
    found = judged(study, Settings(margin=0.0001))
    gaps = sorted(
        each.verdict.detectable for each in found.questions[0].judgements if each.verdict and each.verdict.word
    )
    assert f"this data tells gaps from {difference(gaps[1], 'accuracy')} on in the median cell" in found.summary[0]


def test_of_a_minimized_metric_worse_is_above(study: Builder) -> None:
    """A calibration error that is worse lies above the best; the margin has the metric's unit."""
    make(study, {"a": (0.9, 4.0), "b": (0.898, 3.0)}, seeds=3, metric="ece")
    said = judged(study, Settings(margin=0.0001)).summary[0]
    assert "none is shown to be less than 0.000 in ECE above the best" in said
    assert "below the best" not in said and "points" not in said
    said = judged(study, Settings(margin=0.05)).summary[0]
    assert "shown to be less than 0.050 in ECE above the best" in said


def test_a_cell_far_below_is_no_rival(study: Builder) -> None:
    """A cell without predictions stops the recommendation only if it may be the best."""
    make(study, {"a": (0.928, 40.0), "b": (0.9, 1.0), "c": (0.586, 1.0), "d": (0.5, 1.0)}, seeds=3)
    for file in study.directory.glob("runs/*c/*/predictions.parquet"):
        file.unlink()
    found = judged(study)
    assert words(found)["c"] is None and "choose a" in found.summary[0] and "may be the best" not in found.summary[0]
    for file in study.directory.glob("runs/*b/*/predictions.parquet"):
        file.unlink()
    assert "no cell can be recommended: b could not be compared" in judged(study).summary[0]  # 2.8 points below


@pytest.mark.parametrize(("seconds", "chosen"), [(75.0, "full"), (60.0, "pissa")])
def test_costs_within_five_percent_tie(study: Builder, seconds: float, chosen: str) -> None:
    """Times of one cell differ as much from run to run, so the better score decides."""
    make(study, {"full": (0.9, 78.0), "pissa": (0.895, seconds), "zero": (0.5, 1.0)})
    found = judged(study, Settings(margin=0.02))
    best = found.questions[0].recommended
    assert best is not None and best.cell.method == chosen
    assert ("pissa, 75 s, ties with it" in found.summary[0]) is (chosen == "full")


def test_a_cost_is_told_with_its_spread(study: Builder) -> None:
    """The deviation over the confirmed runs stands beside the mean."""
    make(study, {"full": (0.9, 80.0), "probe": (0.899, 2.0)}, seeds=2)
    path = next(study.directory.glob("runs/*probe/c1/record.json"))
    path.write_text(path.read_text(encoding="utf-8").replace('"train_seconds": 2.0', '"train_seconds": 3.0'))
    assert "the lowest training time (2.5 s ± 0.71 s)" in judged(study, Settings(margin=0.02)).summary[0]


def test_changed_texts_are_other_test_rows(study: Builder) -> None:
    """The same ids and labels are not the same rows if the records say that the texts differ."""
    make(study, {"full": (0.9, 40.0), "probe": (0.85, 0.1), "lora": (0.89, 9.0)}, seeds=2)
    for path in study.directory.glob("runs/*/*/record.json"):
        digest = "0123" if "probe" in str(path) else "4567"
        text = path.read_text(encoding="utf-8").replace('"source":', f'"test_digest": "{digest}", "source":')
        path.write_text(text, encoding="utf-8")
    found = judged(study)
    assert words(found)["probe"] is None
    assert any("probe is not compared: it met other test rows" in note for note in found.notes)


def add(study: Builder, name: str, validation: float) -> None:
    """Add a cell that was tuned and is not confirmed yet."""
    cell = f"{CELL}{name}"
    path = study.directory / "sweep.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["cells"].append(asked(cell))
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    study.run(cell, "t0", trial=0, metrics={"val": {"accuracy": validation}, "test": {}})
