"""Labels as files have them: one class in several spellings, numbers, classes that vanish, and what they mean."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from harness.data.labels import describe
from tests.data.test_text_values import labelled
from tests.helpers.text_tasks import Write, own, problems, rows_csv

DESCRIBED = {
    "AddToPlaylist": "add to playlist", "addToPlaylist": "add to playlist", "HTTPError404": "http error 404",
    "HTTPError": "http error", "404Error": "404 error", "iPhone": "iphone", "iPhoneCase": "iphone case",
    "PDFs": "pdfs", "top10Songs": "top 10 songs", "mp3": "mp3", "B2B": "b2b", "2ndPlace": "2nd place", "3rd": "3rd",
    "snake_case_name": "snake case name", "kebab-case-name": "kebab case name", "dot.name": "dot name",
    "Refund_not_showing_up": "refund not showing up", "card_payment?": "card payment", "UPPER_CASE": "upper case",
    "ÄndereName": "ändere name", "你好": "你好", "+": "+", "1.5": "1 5", "-1": "1", "Label1": "label 1", "A": "a",
    "already in words": "already in words", "QandA": "qand a", "RateBook": "rate book", "SearchScreeningEvent":
    "search screening event",
}  # fmt: skip


@pytest.mark.parametrize("label", DESCRIBED)
def test_names_become_words(label: str) -> None:
    """Case and numbers begin words, acronyms and short mixtures stay whole."""
    assert describe(label) == DESCRIBED[label]


def test_numbers_are_one_class_however_written(write: Write) -> None:
    """`1` of a file of integers and `1.0` of one with missing values are the same, over and within files."""
    ints, floats = write("int.csv", labelled("0", "1")), write("float.csv", labelled("0.0", "1.0"))
    data = own(ints, test_path=str(floats), validation_path=str(floats)).load()
    assert data.labels == ("0", "1")
    assert "The test labels were read as those of training: 0.0 as 0, 1.0 as 1." in data.warnings
    assert own(floats, test_path=str(ints)).load().labels == ("0.0", "1.0")
    mixed = own(write("mixed.csv", labelled("0", "1", "1.0"))).load()
    assert mixed.labels == ("0", "1")
    assert "Training labels that are the same number were read as one: 1.0 as 1." in mixed.warnings
    assert own(write("versions.csv", labelled("1.0", "1", "a"))).load().labels == ("1", "1.0", "a")
    assert own(write("codes.csv", labelled("01", "1"))).load().labels == ("01", "1")


def test_truth_values_are_one_class_in_every_format(write: Write) -> None:
    """`True` of a CSV file and a Parquet file's true."""
    frame = pd.DataFrame({"text": [f"t {n}" for n in range(20)], "label": [n % 2 == 0 for n in range(20)]})
    typed, text = write("rows.parquet", frame.to_parquet()), write("rows.csv", frame.to_csv(index=False))
    assert own(typed, test_path=str(text)).load().labels == ("false", "true")
    assert own(text, test_path=str(typed), positive=False).load().labels == ("True", "False")
    other = write("other.csv", labelled("yes", "True"))
    assert "The test label 'yes'" in problems(own(text, test_path=str(other)))


def test_measured_values_are_no_classes(write: Write) -> None:
    """A column of numbers is told as one, in one sentence, also where splits are given; a scale of stars is classes."""
    values = rows_csv([(f"text {n}", f"{n * 0.37:.2f}") for n in range(80)])
    path = write("rows.csv", values)
    for task in (own(path), own(path, test_path=str(path)), own(path, shots=1)):
        message = problems(task)
        assert message.startswith("The label looks numeric (80 distinct values in 80 rows of task mine: '0.00', ")
        assert "and 77 more), and classes are needed. Name another column with task.label" in message
    for form in ("{:.2f} %", "${:.2f}"):
        units = write("units.csv", rows_csv([(f"text {n}", form.format(n * 0.37)) for n in range(80)]))
        assert "looks numeric" in problems(own(units))
    assert "looks numeric" in problems(own(write("ids.csv", rows_csv([(f"t {n}", str(n)) for n in range(60)]))))
    stars = labelled(*(f"{n / 2}" for n in range(2, 11)))
    assert len(own(write("stars.csv", stars)).load().labels) == 9
    many = own(write("many.csv", labelled(*(f"{n / 10}" for n in range(30))))).load()
    assert any("each value counts as a class of its own" in warning for warning in many.warnings)


@pytest.mark.parametrize("label", ['\t"{}"', "'{}'", "“{}”"])
def test_labels_in_quotes(label: str, write: Write) -> None:
    """Quotes that enclose no field of a CSV file are no part of a class, unless their names say so."""
    path = write("rows.csv", "text,label\n" + "".join(f"text {n},{label.format('ab'[n % 2])}\n" for n in range(20)))
    assert "2 labels of task mine are enclosed in quotes" in problems(own(path))
    names = {label.format(each).strip(): each for each in "ab"}
    assert own(path, label_names=names).load().labels == ("a", "b")


def test_the_text_column_taken_for_labels(write: Write) -> None:
    """Three cut examples, and a question."""
    path = write("rows.csv", rows_csv([(f"x{n}", f"{'long ' * 40}{n}") for n in range(60)]))
    message = problems(own(path))
    assert "and 57 more" in message and "Is task.label the column of the labels?" in message and len(message) < 500


def test_classes_that_vanish_with_their_duplicates(write: Write) -> None:
    """A class whose every text stands before with another label cannot be learned; one that is left with one row."""
    rows = [(f"{label} {n}", label) for n in range(20) for label in "ab"]
    message = problems(own(write("rows.csv", rows_csv([*rows, ("a 1", "c"), ("A  2", "c")]))))
    assert message.startswith("1 of 3 classes ('c') have no text of their own: their 2 rows repeat texts")
    message = problems(own(write("rows.csv", rows_csv([*rows, ("new", "c"), ("NEW", "c")]))))
    assert "needs at least 2 rows of every class, equal texts counted once; one has c." in message


def test_unseen_labels_are_three_short_examples(write: Write) -> None:
    """Of many, or long ones, the first few."""
    train = write("train.csv", labelled(*(f"class {n:03}" for n in range(60)), per_class=3))
    test = write("test.csv", labelled(*(f"{n} {'other ' * 30}" for n in range(9)), per_class=1))
    message = problems(own(train, test_path=str(test)))
    assert message.count("does not occur in training") == 3 and "6 more test labels do not occur" in message
    assert len(message) < 1500


METRIC_CASES: list[tuple[str, dict[str, Any], str]] = [
    ("auroc", {"validation_path": "one"}, "validation"),
    ("auroc", {"test_path": "one"}, "test"),
    ("mcc", {"validation_path": "one"}, "validation"),
    ("mcc", {"test_path": "one"}, "test"),
    ("auroc", {"shots": 16}, "validation"),
    ("auroc", {"shots": 16, "test_path": "one", "validation": "kfold"}, "test"),
    ("mcc", {"shots": 2, "validation_path": "one"}, "validation"),
]


@pytest.mark.parametrize(("metric", "fields", "split"), METRIC_CASES, ids=[str(case) for case in METRIC_CASES])
def test_a_metric_that_a_split_cannot_judge(metric: str, fields: dict[str, Any], split: str, write: Write) -> None:
    """Refused when the data are loaded, before anything is tuned, with the metric, the split and what to do."""
    path = write("rows.csv", labelled("neg", per_class=60) + labelled("pos", per_class=20).split("\n", 1)[1])
    one = str(write("one.csv", rows_csv([(f"new {n}", "pos") for n in range(8)])))
    fields = {name: one if value == "one" else value for name, value in fields.items()}
    message = problems(own(path, metric=metric, **fields))
    assert message.startswith(f"task.metric={metric} needs {split} rows of both classes; all ")
    assert message.endswith("or choose another metric (task.metric=accuracy).")
    for other in ("accuracy", "macro_f1", "weighted_f1", "loss", "ece"):
        assert len(own(path, metric=other, **fields).load().labels) == 2


def test_metrics_with_rows_of_both_classes(write: Write) -> None:
    """Every way to validate."""
    path = write("rows.csv", labelled("neg", "pos", per_class=20))
    for fields in ({}, {"shots": 4}, {"shots": 4, "validation": "kfold", "folds": 2}, {"validation": "kfold"}):
        for metric in ("auroc", "mcc"):
            assert own(path, metric=metric, **fields).load().labels == ("neg", "pos")
