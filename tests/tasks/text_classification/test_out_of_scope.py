"""Rows of `task.oos_label`: they train nothing, and are validation and test rows of no class."""

from __future__ import annotations

import pytest

from tests.helpers.text_tasks import Write, own, problems, rows_csv


def many(label: str, count: int, start: int = 0) -> list[tuple[str, ...]]:
    return [(f"text {number} of {label}", label) for number in range(start, start + count)]


def test_rows_of_a_file_are_halved(write: Write) -> None:
    """Of one file: half of them for validation, half for test; the classes are split as if they were not there."""
    inside = [*many("a", 20), *many("b", 20)]
    path = write("rows.csv", rows_csv([*inside, *many("oos", 9), *many("7", 4)]))
    data = own(path, oos_label=["oos", 7]).load()
    alone = own(write("alone.csv", rows_csv(inside))).load()
    assert data.labels == ("a", "b")
    assert {split.name: len(split) for split in data.outside} == {"validation_outside": 6, "test_outside": 7}
    assert data.facts["out_of_scope"] == {"labels": ["oos", "7"], "validation": 6, "test": 7}
    assert data.test.texts == alone.test.texts and data.train.texts == alone.train.texts
    assert all((split.targets == -1).all() for split in data.outside)
    texts = [text for split in data.outside for text in split.texts]
    assert len(set(texts)) == 13 and not any("of a" in text or "of b" in text for text in texts)
    assert data.fingerprint != alone.fingerprint
    assert own(path, oos_label=["oos", 7]).load().fingerprint == data.fingerprint
    assert "out_of_scope" not in alone.facts


def test_given_splits_keep_theirs(write: Write) -> None:
    """Rows of the training file are for validation then; a text of test rows is not among those that choose."""
    data = own(
        write("train.csv", rows_csv([*many("a", 10), *many("b", 10), *many("oos", 3), ("Same  text", "oos")])),
        test_path=str(write("test.csv", rows_csv([*many("a", 3, 50), *many("b", 3, 50), ("same text", "oos")]))),
        oos_label="oos",
    ).load()
    found = {split.name: split.texts for split in data.outside}
    assert found == {
        "test_outside": ["same text"],
        "validation_outside": ["text 0 of oos", "text 1 of oos", "text 2 of oos"],
    }


def test_groups_stay_whole(write: Write) -> None:
    rows = [(text, label, f"g{number % 7}") for number, (text, label) in enumerate([*many("a", 70), *many("b", 70)])]
    rows += [(text, label, f"g{number % 4}") for number, (text, label) in enumerate(many("oos", 12))]
    data = own(write("rows.csv", rows_csv(rows, "text,label,who")), oos_label="oos", group="who").load()
    of = [set(split.groups) for split in data.outside if split.groups is not None]
    assert len(of) == 2 and not of[0] & of[1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ooss", "task.oos_label=ooss is no label of the rows. Did you mean oos?"),
        (["a", "b"], "takes all"),
        (["a", "oos"], "at least two classes"),
        ([], "must be a label of the rows, or a list of some"),
        ({"a": 1}, "must be a label of the rows, or a list of some"),
    ],
)
def test_mistakes_are_told(write: Write, value: object, message: str) -> None:
    path = write(
        "rows.csv", rows_csv([*many("a", 10), *many("b", 10), *([] if value == ["a", "b"] else many("oos", 4))])
    )
    assert message in problems(own(path, oos_label=value))


def test_what_is_missing_is_said(write: Write) -> None:
    """Only given test rows: nothing can choose a detector."""
    data = own(
        write("train.csv", rows_csv([*many("a", 10), *many("b", 10)])),
        test_path=str(write("test.csv", rows_csv([*many("a", 3, 50), *many("b", 3, 50), ("x", "oos")]))),
        oos_label="oos",
    ).load()
    assert any("so no detector is chosen by them" in note for note in data.warnings)
