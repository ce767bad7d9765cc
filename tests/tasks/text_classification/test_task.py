"""A user's own file: labels, checks, splits, facts, warnings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.tasks.text_classification.assembly import describe
from tests.helpers.text_tasks import Write, make, own, problems, rows_csv


def many(per_class: int = 10, labels: tuple[str, ...] = ("b", "a")) -> list[tuple[str, ...]]:
    return [(f"text {number} of {label}", label) for number in range(per_class) for label in labels]


def test_an_own_file_is_split_and_described(write: Write) -> None:
    """Without given splits, test and validation rows are held out, stratified; every row is in one split."""
    data = own(write("rows.csv", rows_csv(many(20)))).load()
    assert data.labels == ("a", "b")
    assert data.facts["rows"] == {"train": 27, "validation": 5, "test": 8}
    assert np.bincount(data.test.targets).tolist() == [4, 4]
    assert data.validation is not None
    ids = np.concatenate([data.train.ids, data.validation.ids, data.test.ids])
    assert sorted(ids) == list(range(40))
    assert data.facts["selected_with"] == "selected on 5 rows held out of the training rows"
    assert data.facts["source"] == "rows.csv"
    assert json.loads(json.dumps(data.facts)) == data.facts


def test_given_splits_stay_as_they_are(write: Write) -> None:
    """Duplicates stay in given splits; what occurs in two of them is counted and told."""
    train = [*many(), ("Same  TEXT", "a"), ("same text", "a")]
    data = own(
        write("train.csv", rows_csv(train)),
        validation_path=str(write("dev.csv", rows_csv([("dev", "a"), ("x y", "b")]))),
        test_path=str(write("test.csv", rows_csv([("same text", "a"), ("X  y", "b"), ("new", "b")]))),
    ).load()
    assert data.facts["rows"] == {"train": 22, "validation": 2, "test": 3}
    assert data.facts["overlap_train_test"] == data.facts["overlap_validation_test"] == 1
    assert data.facts["duplicates_dropped"] == 0
    assert data.warnings[0].startswith("1 test rows (33.3%) occur among the training rows as well")
    assert data.test.texts == ["same text", "X  y", "new"]
    assert data.facts["selected_with"] == "selected on 2 given validation rows"


def test_duplicates_are_dropped_before_a_split_is_made(write: Write) -> None:
    """The first of equal texts stays, and contradicting labels are counted."""
    rows = [*many(), ("TEXT 0 of   b", "b"), ("text 1 of a", "b")]
    data = own(write("rows.csv", rows_csv(rows))).load()
    assert data.facts["duplicates_dropped"] == 2
    assert data.facts["conflicting_labels"] == 1
    assert sum(data.facts["rows"].values()) == 20
    assert "2 duplicate rows were dropped before splitting." in data.warnings
    assert "1 texts occur with more than one label; the first one was kept." in data.warnings


def test_text_pairs(write: Write) -> None:
    """Two text columns make pairs, equal only if both texts are."""
    rows = [(f"question {n}", f"answer {n % 2}", "yes" if n % 2 else "no") for n in range(20)]
    path = write("pairs.csv", rows_csv([*rows, rows[0]], "question,answer,label"))
    data = own(path, text=["question", "answer"], positive="no").load()
    assert data.labels == ("yes", "no")
    assert data.train.pairs is not None
    assert len(data.train.pairs) == len(data.train.texts)
    assert all(
        pair == f"answer {int(text.split()[1]) % 2}"
        for text, pair in zip(data.train.texts, data.train.pairs, strict=True)
    )
    assert data.facts["duplicates_dropped"] == 1
    assert data.facts["words_mean"] == 4
    single = own(path, text="question").load()
    assert single.train.pairs is None
    assert single.fingerprint != data.fingerprint


def test_labels_of_any_simple_type_get_names(write: Write) -> None:
    """Numbers and truth values are labels; label_names name them; the positive class comes last."""
    frame = pd.DataFrame({"text": [f"t {n}" for n in range(20)], "label": [n % 2 == 0 for n in range(20)]})
    path = write("rows.parquet", frame.to_parquet())
    assert own(path).load().labels == ("false", "true")
    data = own(path, label_names={"true": "good", "false": "bad"}, positive="bad").load()
    assert data.labels == ("good", "bad")
    frame["label"] = frame["label"].astype(float)
    assert own(write("rows.parquet", frame.to_parquet())).load().labels == ("0", "1")
    message = problems(own(path, label_names={"0": "bad", "2": "good"}))
    assert message == "rows.parquet: task.label_names gives no name for '1'. Named: '0', '2'."


def test_descriptions_say_the_label_in_words(write: Write) -> None:
    """Underscores, punctuation and case are for machines; given descriptions win."""
    assert describe("Refund_not_showing_up") == "refund not showing up"
    assert describe("reverted_card_payment?") == "reverted card payment"
    assert describe("+") == "+"
    assert own(write("rows.csv", rows_csv(many())), descriptions={"b": "the second"}).load().descriptions == (
        "a",
        "the second",
    )


def test_the_fingerprint_is_of_the_content(write: Write) -> None:
    """It stays for equal content wherever it lies, and changes with a row, a label, a draw, a description."""
    content = rows_csv(many(20))
    path = write("rows.csv", content)
    base = own(path).load().fingerprint
    assert own(write("other.csv", content)).load().fingerprint == base
    changed = [
        own(path, descriptions={"a": "first"}),
        own(path, shots=3),
        own(path, shots=3, draw=1),
        own(path, split_seed=1),
        own(path, validation="kfold"),
        own(write("text.csv", content.replace("text 3 of a", "text three of a"))),
        own(write("label.csv", content.replace("text 3 of a,a", "text 3 of a,b"))),
    ]
    fingerprints = {task.load().fingerprint for task in changed}
    assert len(fingerprints) == len(changed)
    assert base not in fingerprints


def test_missing_texts_and_labels_name_their_rows(write: Write, tmp_path: Path) -> None:
    """All problems of all splits come at once, each with rows and a count."""
    rows = [("a", "x"), (" ", "y"), ("b", ""), ("", "x"), ("c", "y")]
    path = write("rows.csv", rows_csv(rows))
    message = problems(own(path, test_path=str(tmp_path / "rowz.csv")))
    assert (
        "rows.csv: 2 of 5 rows have no text in column 'text': rows 2, 4 (counted from 1, without a header)." in message
    )
    assert "rows.csv: 1 of 5 rows have no label in column 'label': row 3 (counted from 1, without a header)." in message
    assert "Did you mean rows.csv?" in message
    frame = pd.DataFrame({"text": ["a", None, "b"], "label": ["x", "y", None]})
    message = problems(own(write("rows.parquet", frame.to_parquet())))
    assert "1 of 3 rows have no text in column 'text': row 2" in message
    assert "1 of 3 rows have no label in column 'label': row 3" in message


def test_texts_that_are_none(write: Write) -> None:
    """Numbers in the text column are not taken for texts, nor lists for labels, nor half characters for characters."""
    lines = [{"text": 3.5, "label": ["x"]}, {"text": "half \ud83d", "label": "y"}]
    written = [json.dumps(line) for line in lines]
    message = problems(own(write("rows.jsonl", "\n".join(written))))
    assert "1 of 2 rows hold half a character (a lone surrogate) in column 'text': row 2" in message
    message = problems(own(write("whole.jsonl", written[0])))
    assert "1 of 1 rows hold no text in column 'text' but, for instance, float 3.5: row 1" in message
    assert "labels must be texts or numbers; in column 'label' row 1" in message


def test_one_class_is_no_classification(write: Write) -> None:
    """The one label is named."""
    message = problems(own(write("rows.csv", rows_csv(many(labels=("a",))))))
    assert "needs at least two classes; all training rows of task mine have the label 'a'" in message


def test_labels_unseen_in_training(write: Write) -> None:
    """Each is named with the nearest that is known, for both splits."""
    train = write("train.csv", rows_csv(many(labels=("spam", "ham"))))
    other = str(write("other.csv", rows_csv([("t", "spam"), ("u", "Spam"), ("v", "Spam")])))
    message = problems(own(train, test_path=other, validation_path=other))
    assert "The test label 'Spam' (2 rows) does not occur in training. Did you mean spam? Known: ham, spam." in message
    assert "The validation label 'Spam' (2 rows)" in message


def test_labels_that_differ_in_case_are_pointed_out(write: Write) -> None:
    """They stay apart, with a warning."""
    rows = [(f"text {number} of class {place}", label) for place, label in enumerate(("Spam", "spam", "ham"))
            for number in range(10)]  # fmt: skip
    data = own(write("rows.csv", rows_csv(rows))).load()
    assert "The classes 'Spam' and 'spam' differ only in case or punctuation: are they one?" in data.warnings


def test_imbalance_and_absent_classes_are_told(write: Write) -> None:
    """A ratio of ten and more, and classes without test rows, are warned of."""
    rows = [*many(40, ("a", "b")), *many(3, ("rare",))]
    data = own(write("train.csv", rows_csv(rows)), test_path=str(write("test.csv", rows_csv(many(2))))).load()
    assert any("look at macro_f1 as well as accuracy" in warning for warning in data.warnings)
    assert "1 of 3 classes have no test row: rare." in data.warnings


def test_wrong_settings_are_told_at_once(write: Write) -> None:
    """Every field that breaks its rule is named with its value and what it may be."""
    path = write("rows.csv", rows_csv(many()))
    message = problems(
        own(
            path, metric="acuracy", shots=0, draw=-1, folds=1, pool_per_class=0, validation_fraction=1.0,
            test_fraction=0, validation="cv", max_length=0, format="cvs", encoding="utf-9", text=["a", "b", "c"],
            files={"dev": "x"}, hub={"idd": "x"}, split_seed=True,
        )
    )  # fmt: skip
    for part in (
        "Unknown task.metric acuracy. Did you mean accuracy",
        "task.shots must be a whole number, 1 or more, not 0.",
        "task.draw must be a whole number, 0 or more, not -1.",
        "task.folds must be a whole number, 2 or more, not 1.",
        "task.pool_per_class must be a whole number, 1 or more, not 0.",
        "task.split_seed must be a whole number, 0 or more, not True.",
        "task.max_length must be a whole number, 3 or more, not 0.",
        "task.validation_fraction must lie between 0 and 1, both excluded, not 1.0.",
        "task.test_fraction must lie between 0 and 1, both excluded, not 0.",
        "task.validation must be one of split, pool, kfold or null, not 'cv'.",
        "Unknown task.format cvs. Did you mean csv",
        "Unknown task.encoding utf-9.",
        "task.text names one column, or two for text pairs, not ['a', 'b', 'c'].",
        "task.files names the unknown split dev.",
        "Unknown key task.hub.idd. Did you mean id?",
    ):
        assert part in message, part


def test_settings_that_do_not_fit_together(write: Write) -> None:
    """Folds beyond the shots, a pool without shots, one column for two things, binary settings for many classes."""
    path = write("rows.csv", rows_csv(many(labels=("a", "b", "c"))))
    assert "task.folds=5 exceeds task.shots=3" in problems(own(path, shots=3, validation="kfold"))
    assert "task.validation=pool takes rows beyond the shots: set task.shots" in problems(own(path, validation="pool"))
    assert "task.label and task.text both name the column 'text'." in problems(own(path, label="text"))
    message = problems(own(path, metric="auroc", positive="d", descriptions={"e": "x"}))
    assert "task.metric=auroc is for two classes; there are 3. Choose macro_f1 or accuracy." in message
    assert "task.positive=d is not a class." in message
    assert "task.positive is for two classes; there are 3" in message
    assert "task.descriptions describes 'e', which is not a class." in message


def test_the_own_file_task_asks_for_its_file(place: Path, write: Write) -> None:
    """Without a path the csv task says how to give one; a path is relative to the current directory."""
    message = problems(make("csv"))
    assert message.startswith("Task csv needs a file of labelled rows: task.path=FILE (csv, tsv, lines,")
    write("rows.csv", rows_csv(many(), "message,topic"))
    assert len(make("csv", "task.path=rows.csv", "task.text=message", "task.label=topic").load().labels) == 2


@pytest.mark.parametrize("overrides", [[], ["task.shots=2"], ["task.shots=4", "task.validation=kfold", "task.folds=2"]])
def test_loading_twice_gives_the_same(overrides: list[str], place: Path, write: Write) -> None:
    """The same file and settings give the same rows in the same order."""
    write("rows.csv", rows_csv(many(20)))
    first, second = (make("csv", "task.path=rows.csv", *overrides).load() for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.train.ids.tolist() == second.train.ids.tolist()
