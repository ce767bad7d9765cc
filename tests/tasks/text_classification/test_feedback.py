"""Feedback as training rows: what counts, what is left out, and that evaluated rows stay what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.serve.feedback import FeedbackStore
from tests.helpers.text_tasks import Write, make, own, problems, rows_csv

ROWS = [(f"text {number} of {label}", label) for label in "ab" for number in range(20)]


def told(directory: Path, *rows: dict[str, Any], tenant: str = "shop") -> Path:
    """Store rows as the service does; return the folder of the model."""
    store = FeedbackStore(directory / "feedback")
    for row in rows:
        store.add("m", tenant, row)
    return directory / "feedback" / "m"


@pytest.mark.parametrize(
    "fields",
    [{}, {"shots": 3}, {"shots": 4, "validation": "kfold", "folds": 2}, {"shots": 8, "validation": "split"}],
)
def test_evaluated_rows_stay(write: Write, tmp_path: Path, fields: dict[str, Any]) -> None:
    """Rows of feedback are the last training rows, of every fold as well; nothing else changes."""
    path = write("rows.csv", rows_csv(ROWS))
    before = own(path, **fields).load()
    folder = told(tmp_path, {"text": "a new one", "label": "b", "predicted": "a"}, {"text": "Another", "label": "a"})
    after = own(path, feedback=str(folder), **fields).load()
    for name in ("validation", "test"):
        one, two = getattr(before, name), getattr(after, name)
        assert (one is None) == (two is None)
        if one is not None:
            assert one.texts == two.texts and one.ids.tolist() == two.ids.tolist()
    pairs = [
        (before.train, after.train),
        *((one[0], two[0]) for one, two in zip(before.folds, after.folds, strict=True)),
    ]
    for one, two in pairs:
        assert two.texts == [*one.texts, "a new one", "Another"]
        assert two.targets.tolist() == [*one.targets.tolist(), 1, 0]
        assert two.ids[-2:].tolist() == [40, 41]  # beyond those of the source
    assert after.facts["feedback"]["added"] == 2 and after.facts["feedback"]["first_id"] == 40
    assert "Feedback: 2 rows, 2 added to the training rows." in after.warnings
    assert before.fingerprint != after.fingerprint


def test_rows_that_are_left_out_are_counted(write: Write, tmp_path: Path) -> None:
    """Test and validation rows, training rows, repetitions; of several labels of a text the last one counts."""
    path = write("rows.csv", rows_csv(ROWS))
    before = own(path).load()
    assert before.validation is not None
    known = before.train.texts[0]
    label, other = ("a", "b") if before.train.targets[0] == 0 else ("b", "a")
    wrong = before.train.texts[-1]
    flipped = "b" if before.train.targets[-1] == 0 else "a"
    folder = told(
        tmp_path, {"text": before.test.texts[0].upper(), "label": "a"},
        {"text": before.validation.texts[0], "label": "a"}, {"text": known, "label": label},
        {"text": "new", "label": other}, {"text": "NEW ", "label": label},
        {"text": wrong, "label": flipped},
    )  # fmt: skip
    told(tmp_path, {"text": "new", "label": label}, tenant="another")
    after = own(path, feedback=str(folder)).load()
    facts = after.facts["feedback"]
    expected = {
        "rows": 7, "added": 2, "known": 1, "replaced": 1, "in_test": 1, "in_validation": 1, "repeated": 2,
        "conflicting": 1,
    }  # fmt: skip
    assert {key: facts[key] for key in expected} == expected
    found = dict(zip((text.strip().lower() for text in after.train.texts), after.train.targets.tolist(), strict=True))
    assert found["new"] == "ab".index(label) and found[wrong] == "ab".index(flipped)
    assert len(after.train) == len(before.train) + 1
    said = " ".join(after.warnings)
    assert "1 is a test row, 1 is a validation row, 1 is a training row already, 2 repeat earlier texts" in said
    assert "several labels; the last one counts" in said and "gave way to feedback" in said


def test_new_classes_only_when_asked(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", rows_csv(ROWS))
    folder = told(tmp_path, {"text": "never seen", "label": "c"}, {"text": "nor this", "label": "c"})
    message = problems(own(path, feedback=str(folder)))
    assert "1 label that no training row has" in message and "task.feedback_classes=new" in message
    data = own(path, feedback=str(folder), feedback_classes="new").load()
    assert data.labels == ("a", "b", "c") and data.facts["feedback"]["new_classes"] == ["c"]
    assert any("New classes by feedback: 'c'." in warning for warning in data.warnings)
    numbers = own(write("n.csv", rows_csv([(text, "1" if label == "a" else "2") for text, label in ROWS])))
    store = FeedbackStore(tmp_path / "numbers")
    store.add("m", "shop", {"text": "fresh", "label": 1})
    numbers.feedback = str(tmp_path / "numbers" / "m")
    assert numbers.load().labels == ("1", "2")


def test_pairs(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", rows_csv([(text, f"about {text}", label) for text, label in ROWS], "text,more,label"))
    folder = told(tmp_path, {"text": "text 1 of a", "pair": "of another", "label": "b"})
    data = own(path, text=["text", "more"], feedback=str(folder)).load()
    assert data.train.pairs is not None
    assert (data.train.texts[-1], data.train.pairs[-1]) == ("text 1 of a", "of another")
    single = write("single.jsonl", json.dumps({"text": "x", "label": "a"}))
    assert "line 1 has no pair" in problems(own(path, text=["text", "more"], feedback=str(single)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}\n[]\nx\n", "line 1 has no text; line 2 is no JSON object; line 3 is no JSON object"),
        ('{"text": "x"}\n{"text": " ", "label": "a"}', "line 1 has no label; line 2 has no text"),
        ('{"text": "x", "label": "a", "pair": "y"}', "line 1 has a second text, and this task has single ones"),
        ('{"text": "x", "label": null}', "line 1 has no label"),
        (b"\xff\xfe", "it is not UTF-8 text"),
    ],
)
def test_mistakes_in_files(write: Write, content: str | bytes, message: str) -> None:
    assert message in problems(own(write("rows.csv", rows_csv(ROWS)), feedback=str(write("f.jsonl", content))))


def test_mistakes_in_keys(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", rows_csv([(*row, "g") for row in ROWS], "text,label,who"))
    assert "has no feedback: name a file" in problems(own(path, feedback=str(tmp_path / "none")))
    assert "has no feedback: name a file" in problems(own(path, feedback=str(tmp_path / "rows.csv" / "x")))
    message = problems(own(path, feedback=3, feedback_classes="all", group="who"))
    assert "task.feedback must be" in message or "task.feedback" in message
    assert "task.feedback_classes must be one of known, new, not 'all'" in message and "no groups" in message


def test_named_tasks_take_feedback(tmp_path: Path) -> None:
    """As the generated demo, whose service stores feedback like any other."""
    data = make("demo").load()
    folder = told(tmp_path, {"text": "where on earth is it", "label": data.labels[1]})
    after = make("demo", f"task.feedback={folder}").load()
    assert len(after.train) == len(data.train) + 1 and after.test.texts == data.test.texts


def test_feedback_of_an_editor(write: Write, tmp_path: Path) -> None:
    """A byte order mark is none of the first line's; half a character is told before anything is made of it."""
    path = write("rows.csv", rows_csv(ROWS))
    folder = tmp_path / "feedback"
    folder.mkdir()
    (folder / "a.jsonl").write_text(json.dumps({"text": "a new one", "label": "b"}) + "\r\n", encoding="utf-8-sig")
    assert own(path, feedback=str(folder)).load().facts["feedback"]["added"] == 1
    for row in ({"text": "half \ud800", "label": "b"}, {"text": "whole", "label": "half \ud800"}):
        (folder / "a.jsonl").write_text(json.dumps(row) + "\n")
        assert "line 1 holds half a character" in problems(own(path, feedback=str(folder)))
    (folder / "a.jsonl").write_bytes(json.dumps({"text": "é", "label": "b"}, ensure_ascii=False).encode("cp1252"))
    assert "save it as UTF-8" in problems(own(path, feedback=str(folder)))


@pytest.mark.parametrize("classes", ["known", "new"])
def test_feedback_out_of_scope_trains_nothing(write: Write, tmp_path: Path, classes: str) -> None:
    """Neither rows of task.oos_label, which are no class, nor texts that measure how well such rows are found."""
    out = [(f"weather {number}", "oos") for number in range(8)]
    path = write("rows.csv", rows_csv([*ROWS, *out]))
    rows = [{"text": "rain", "label": "oos"}, {"text": "Weather 3", "label": "a"}, {"text": "fine", "label": "a"}]
    made = own(path, oos_label="oos", feedback=str(told(tmp_path, *rows)), feedback_classes=classes).load()
    assert made.labels == ("a", "b") and made.train.texts[-1] == "fine" and "Weather 3" not in made.train.texts
    facts = made.facts["feedback"]
    assert (facts["added"], facts["out_of_scope"], facts["in_test"] + facts["in_validation"]) == (1, 1, 1)
    assert any("1 is out of scope (task.oos_label)" in each for each in made.warnings)
