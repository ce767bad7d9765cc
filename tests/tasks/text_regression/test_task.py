"""Data of text regression: numbers in any file, splits without classes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.tasks.text_regression.data import RegressionData
from harness.tasks.text_regression.demo import DemoSimilarity
from harness.tasks.text_regression.task import TextRegression

# Of the default demo. A change of this value is a change of the task: every result on it is another one then.
FINGERPRINT = "af732b184f40d196bab3d1fc547c9ff12632b2359d20459622b1e457ed8ea0a2"


def load(path: Path, **fields: Any) -> RegressionData:
    return TextRegression(name="mine", path=str(path), **({"text": ["a", "b"], "label": "score"} | fields)).load()


def write(path: Path, labels: list[str]) -> Path:
    lines = [f'"one {row}","two, {row % 7}",{label}' for row, label in enumerate(labels)]
    path.write_text("\n".join(["a,b,score", *lines]) + "\n", encoding="utf-8")
    return path


def complaint(path: Path, **fields: Any) -> str:
    with pytest.raises(HarnessError) as caught:
        load(path, **fields)
    return str(caught.value)


def test_numbers_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Whole numbers, fractions, signs and exponents; every row is in one split, with its number."""
    labels = [str(value) for value in (0, -1.5, "2e-1", "+3", 4.0, "1_0", " 5 ", 7)]
    data = load(write(tmp_path / "rows.csv", labels * 5))
    assert data.pairs and data.outputs == 1
    found = {
        int(row): value
        for part in (data.train, data.validation, data.test)
        if part is not None
        for row, value in zip(part.ids, part.targets, strict=True)
    }
    assert [found[row] for row in range(40)] == [float(label) for label in labels * 5]
    assert data.center == pytest.approx(data.train.targets.mean())
    assert data.facts["target_max"] == 10.0


def test_single_texts_shots_and_folds(tmp_path: Path) -> None:
    """One text column, a number of training rows, and folds that hold each of them once."""
    path = write(tmp_path / "rows.csv", [str(row / 3) for row in range(60)])
    data = load(path, text="a", shots=20, validation="kfold", folds=4)
    assert not data.pairs and len(data.train) == 20 and data.validation is None
    held = np.concatenate([part.ids for _, part in data.folds])
    assert sorted(held) == sorted(data.train.ids)
    assert load(path, text="a", shots=20, draw=1).fingerprint != load(path, text="a", shots=20).fingerprint


def test_what_is_no_number_is_named(tmp_path: Path) -> None:
    """At most three examples; what can be done stands with it."""
    labels = ["1", "good", "bad", "nan", "inf", "2"] * 10
    told = complaint(write(tmp_path / "rows.csv", labels))
    assert "4 train labels are none" in told and "and 1 more" in told and "task=csv" in told
    assert "there is nothing to learn" in complaint(write(tmp_path / "same.csv", ["3"] * 40))
    assert "task.shots=99 exceeds" in complaint(write(tmp_path / "few.csv", list("123456789") * 2), shots=99)
    assert "needs 20 training rows" in complaint(tmp_path / "few.csv", validation="kfold", folds=10)
    assert "names classes" in complaint(tmp_path / "few.csv", label_names={"1": "one"})


@pytest.mark.parametrize(
    ("label", "says"), [("0,5", "Decimals are written with a point: 0.5"), ("$ 3.50", "without signs for units"),
                        ("12 %", "without signs for units"), ("1,234.5", "without signs for units")]
)  # fmt: skip
def test_numbers_in_another_spelling_are_told_how_to_be_written(label: str, says: str, tmp_path: Path) -> None:
    """Other texts get no such advice."""
    assert says in complaint(write(tmp_path / "rows.csv", [f'"{label}"'] * 40))
    assert "written" not in complaint(write(tmp_path / "other.csv", ["high"] * 40))


def test_equal_numbers_are_shown_as_they_are(tmp_path: Path) -> None:
    """Not as a type of NumPy."""
    assert "have the number 1.5, and" in complaint(write(tmp_path / "rows.csv", ["1.5"] * 40))


def test_the_demo_is_the_same_everywhere() -> None:
    """Pairs of one intent are rated higher than those of a group, and these higher than others."""
    data = DemoSimilarity(name="demo_similarity").load()
    assert (len(data.train), data.validation and len(data.validation), len(data.test)) == (600, 200, 400)
    assert data.fingerprint == FINGERPRINT
    assert data.train.targets.min() >= 0 and data.train.targets.max() <= 5
    assert np.std(data.train.targets) > 1.5
