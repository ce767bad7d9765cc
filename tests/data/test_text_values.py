"""Values that Hydra and YAML read as numbers, truth values, null or lists where a text is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.instantiate import build
from harness.data.text_values import match
from harness.errors import HarnessError, nearest
from tests.helpers.text_tasks import Write, make, own, problems, rows_csv, settings


def labelled(*labels: str, header: str = "text,label", per_class: int = 10) -> str:
    """A CSV file with these classes."""
    return rows_csv([(f"text {n} of {label}", label) for n in range(per_class) for label in labels], header)


@pytest.mark.parametrize(
    ("labels", "typed", "last"),
    [
        (("0", "1"), "1", "1"), (("0", "1"), "0", "0"), (("0", "1"), "true", "1"), (("0.0", "1.0"), "1", "1.0"),
        (("False", "True"), "true", "True"), (("False", "True"), "false", "False"), (("No", "Yes"), "true", "Yes"),
        (("off", "on"), "false", "off"), (("-1", "1"), "-1", "-1"), (("1e3", "2"), "1e3", "1e3"),
        (("no", "si"), "no", "no"), (("2024", "2025"), "2024", "2024"),
    ],
)  # fmt: skip
def test_a_positive_class_of_any_spelling(
    labels: tuple[str, ...], typed: str, last: str, write: Write, place: Path
) -> None:
    """Numbers and truth values mean the label that is in the data."""
    write("rows.csv", labelled(*labels))
    assert make("csv", "task.path=rows.csv", f"task.positive={typed}").load().labels[-1] == last


def test_columns_named_by_numbers_and_truth_values(write: Write, place: Path) -> None:
    """Text and label columns, names for files without a header, and lists of one."""
    write("rows.csv", labelled("a", "b", header="0,1"))
    assert make("csv", "task.path=rows.csv", "task.text=0", "task.label=1").load().labels == ("a", "b")
    assert make("csv", "task.path=rows.csv", "task.text=[0]", "task.label=[1]").load().labels == ("a", "b")
    write("bare.csv", labelled("a", "b").split("\n", 1)[1])
    bare = ("task.path=bare.csv", "task.columns=[1,2]", "task.text=1", "task.label=2")
    assert make("csv", *bare).load().labels == ("a", "b")
    write("words.csv", labelled("a", "b", header="Yes,no"))
    assert make("csv", "task.path=words.csv", "task.text=true", "task.label=no").load().labels == ("a", "b")
    write("pairs.csv", rows_csv([(f"q {n}", f"a {n}", "xy"[n % 2]) for n in range(20)], "1,2,3"))
    assert make("csv", "task.path=pairs.csv", "task.text=[1,2]", "task.label=3").load().train.pairs


WRONG = [
    ("encoding", None), ("encoding", ["utf-8"]), ("encoding", True), ("metric", None), ("metric", 1),
    ("metric", ["accuracy"]), ("label", None), ("label", ["label", "text"]), ("label", {"a": "b"}), ("text", None),
    ("text", []), ("text", ["text", "text"]), ("text", [None]), ("name", None), ("name", ["a"]), ("quoting", "nope"),
    ("quoting", None), ("quoting", 3), ("separator", [1]), ("separator", ""), ("separator", "::"), ("separator", '"'),
    ("columns", "text"), ("columns", 1), ("columns", []), ("columns", ["text", "text"]), ("columns", [None, "text"]),
    ("label_names", "foo"), ("label_names", ["a"]), ("label_names", {"x": None}), ("label_names", {"x": ["a"]}),
    ("label_names", {0: False}), ("descriptions", "foo"), ("descriptions", {"x": True}), ("descriptions", {"x": [1]}),
    ("format", 1), ("format", ["csv"]), ("path", ["rows.csv"]), ("path", {"a": "b"}), ("test_path", ["rows.csv"]),
    ("folder", ["a"]), ("files", "foo"), ("files", {"train": None}), ("files", {1: "x"}), ("hub", "foo"),
    ("hub", {"id": "a", "label_names": {0: False}}), ("hub", {"id": ["a"]}), ("hub", {"id": "a", "text": {}}),
    ("positive", ["x"]), ("positive", {"x": "y"}), ("shots", True), ("shots", "x"), ("shots", 1.5), ("folds", None),
    ("draw", None), ("validation", 1), ("validation", True), ("validation", ["split"]), ("validation_fraction", "a"),
    ("validation_fraction", None), ("max_length", None), ("split_seed", 1.0), ("pool_per_class", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{key}={value}" for key, value in WRONG])
def test_what_is_no_text_is_one_sentence(key: str, value: Any, write: Write) -> None:
    """The key is named, whatever the value is; nothing is a traceback."""
    node = {
        **settings("csv"),
        "path": str(write("rows.csv", labelled("x", "y"))),
        key: value,
    }
    node["metric"] = node["metric"] if key == "metric" else "accuracy"
    with pytest.raises(HarnessError) as caught:
        build(node).load()
    assert len(caught.value.problems) == 1
    assert f"task.{key}" in str(caught.value), caught.value


def test_truth_values_as_names_have_to_be_quoted(write: Write) -> None:
    """YAML has lost the spelling of `no`; the sentence has what to write, which works."""
    path = write("rows.csv", labelled("0", "1"))
    message = problems(own(path, label_names={0: False, 1: "yes"}))
    assert "task.label_names: the value of 0 is false" in message and "YAML reads false, no, off as false" in message
    assert "'task.label_names={0:\"no\"}'" in message
    assert own(path, label_names={0: "no", 1: "yes"}).load().labels == ("no", "yes")


def test_names_and_descriptions_by_any_key(write: Write) -> None:
    """Keys of mappings mean labels as well, in every spelling of the same number or truth value."""
    names = {True: "good", False: "bad"}
    for labels in (("True", "False"), ("true", "false"), ("yes", "no"), ("1", "0")):
        assert own(write("rows.csv", labelled(*labels)), label_names=names).load().labels == ("bad", "good")
    floats = write("rows.csv", labelled("0.0", "1.0"))
    assert own(floats, label_names={0: "bad", 1: "good"}).load().labels == ("bad", "good")
    assert own(floats, descriptions={0: "bad", 1: 5}).load().descriptions == ("bad", "5")
    assert own(write("rows.csv", labelled("x", "y")), descriptions={"x": None}).load().descriptions == ("x", "y")


def test_settings_in_the_words_of_a_shell(write: Write, place: Path) -> None:
    """`no` for false, `tab` for a tab, a code page by its number, a name of digits."""
    write("rows.csv", labelled("x", "y").replace(",", "\t"))
    task = make(
        "csv", "task.path=rows.csv", "task.separator=tab", "task.quoting=no", "task.encoding=1252", "task.name=2024",
        "task.format=CSV",
    )  # fmt: skip
    assert (task.name, len(task.load().labels)) == ("2024", 2)
    assert make("csv", "task.path=rows.csv", "task.separator=\\t").load().labels == ("x", "y")


def test_nothing_is_guessed() -> None:
    """Where several are meant, or none, nothing is."""
    assert match(True, ["yes", "true"]) is None
    assert match(1, ["1.0", "01"]) is None
    assert match(None, ["null", "x"]) == "null" and match(["x"], ["x"]) is None
    assert nearest(1, [2, "a"]) == "Known: 2, a."  # never a traceback of its own
