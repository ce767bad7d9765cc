"""The named tasks, on the real data: counts as their owners publish them, and what happens without the data."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.config.instantiate import build
from harness.tasks.text_classification.data import ClassificationData
from tests.helpers.text_tasks import TASKS, Write, make, own, problems, rows_csv

INTERACTIONS = ("recommendation", "movielens", "demo_ratings")  # users have no shots: tests/tasks/recommendation


def counts(data: ClassificationData) -> Counter[str]:
    """Rows a class over all splits."""
    parts = [data.train, data.validation, data.test]
    return Counter(data.labels[label] for part in parts if part is not None for label in part.targets)


@pytest.mark.parametrize("name", [name for name in TASKS if name not in INTERACTIONS])
def test_every_task_composes(name: str) -> None:
    """Every YAML makes a task of its own name, and its keys can be overridden."""
    task = make(name, "task.shots=5", "task.draw=1", "task.validation=kfold", "task.split_seed=32")
    assert task.name == name
    assert (task.shots, task.draw, task.validation, task.split_seed) == (5, 1, "kfold", 32)


def test_banking77(data: Path) -> None:
    """10,003 and 3,080 rows in 77 intents; seven test texts occur in training."""
    task = make("banking77", "task.validation=kfold").load()
    assert (len(task.train), len(task.test), len(task.labels)) == (10_003, 3_080, 77)
    assert set(np.bincount(task.test.targets)) == {40}
    assert task.facts["overlap_train_test"] == 7
    assert task.facts["words_mean"] == 11.9
    assert task.facts["words_p95"] == 29
    assert task.facts["imbalance_train"] == round(187 / 35, 2)
    assert task.facts["source"] == "banking77/train.csv"
    assert "refund not showing up" in task.descriptions
    assert "reverted card payment" in task.descriptions


def test_banking77_shots_are_the_published_ones(data: Path) -> None:
    """Draw 0 of ten shots equals DNNC's train_10 row by row, lower-cased."""
    task = make("banking77", "task.shots=10").load()
    published = data / "banking77" / "fewshot_dnnc" / "train_10"
    assert [text.lower().strip() for text in task.train.texts] == [
        line.strip() for line in (published / "seq.in").read_text(encoding="utf-8").splitlines()
    ]
    assert [task.labels[label] for label in task.train.targets] == (published / "label").read_text().split()
    assert task.facts["rows"] == {"train": 770, "validation": 1540, "test": 3080}
    assert task.facts["selected_with"] == "selected with 1540 labels beyond the shots"


def test_financial_phrasebank(data: Path) -> None:
    """2,264 latin-1 sentences, five of them twice, split without them."""
    task = make("financial_phrasebank").load()
    assert task.facts["duplicates_dropped"] == 5
    assert sum(counts(task).values()) == 2_264 - 5
    assert task.labels == ("negative", "neutral", "positive")
    assert task.facts["majority_test"] == pytest.approx(0.614, abs=0.003)
    everyone = make("financial_phrasebank", "task.files.train=Sentences_50Agree.txt").load()
    assert everyone.facts["duplicates_dropped"] == 8
    assert everyone.facts["conflicting_labels"] == 2
    assert "ñ" in "".join(everyone.train.texts)


def test_sms_spam(data: Path) -> None:
    """5,574 messages, 415 duplicates gone before the split, spam is the positive class."""
    task = make("sms_spam").load()
    assert task.labels == ("ham", "spam")
    assert task.facts["duplicates_dropped"] == 415
    assert sum(counts(task).values()) == 5_574 - 415
    assert task.facts["overlap_train_test"] == 0


def test_poem_sentiment(data: Path) -> None:
    """The given splits; `mixed` occurs in training only, which is told."""
    task = make("poem_sentiment").load()
    assert task.facts["rows"] == {"train": 892, "validation": 105, "test": 104}
    train = Counter(task.labels[label] for label in task.train.targets)
    assert train == {"no_impact": 555, "negative": 155, "positive": 133, "mixed": 49}
    assert task.facts["majority_test"] == pytest.approx(0.663, abs=0.001)
    assert task.facts["overlap_train_test"] == 0
    assert "1 of 4 classes have no test row: mixed." in task.warnings


def test_german_credit(data: Path) -> None:
    """700 good and 300 bad applicants; bad is the positive class and AUROC selects."""
    task = make("german_credit")
    loaded = task.load()
    assert task.metric == "auroc"
    assert loaded.labels == ("good", "bad")
    assert counts(loaded) == {"good": 700, "bad": 300}
    assert loaded.facts["majority_test"] == 0.7


def test_german_credit_as_arff(data: Path) -> None:
    """The original ARFF file reads too, with an attribute in the place of the text."""
    path = data / "german_credit" / "dataset_31_credit-g.arff"
    loaded = own(path, text=["purpose", "job"], label="class", positive="bad", test_path=str(path)).load()
    assert len(loaded.test) == 1_000
    assert loaded.labels == ("good", "bad")
    assert "radio/tv" in loaded.test.texts


def test_an_own_path_wins_over_the_named_files(data: Path, place: Path, write: Write) -> None:
    """task.path replaces the named data; task.test_path alone replaces that split only."""
    write("mine.csv", rows_csv([(f"t {n}", "ab"[n % 2]) for n in range(20)], "text,category"))
    assert make("banking77", "task.path=mine.csv").load().labels == ("a", "b")
    write("test.csv", "text,category\nwhere is my card,card_arrival\n")
    loaded = make("banking77", "task.test_path=test.csv", "task.shots=1").load()
    assert (len(loaded.test), len(loaded.labels)) == (1, 77)


def test_without_the_data_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Write) -> None:
    """No folder and no hub: HARNESS_DATA, a file of one's own, the extra. A wrong HARNESS_DATA is told."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    message = problems(make("banking77"))
    assert message.startswith("The hub data set mteb/banking77 of task banking77 cannot be loaded: ")
    assert "set HARNESS_DATA to a folder with the data of banking77" in message
    assert "task.path=FILE" in message
    assert problems(make("german_credit")) == (
        "The data of task german_credit are not here, and no hub data set is known for it. Set HARNESS_DATA to a "
        "folder that holds german_credit/dataset.arrow, or name your own file with task.path=FILE."
    )
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "needs the package datasets: pip install 'harness[hub]'" in problems(make("banking77"))
    monkeypatch.setenv("HARNESS_DATA", str(write("file", "x")))
    assert "HARNESS_DATA must name a folder;" in problems(make("banking77"))
    (tmp_path / "banking77").mkdir()
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert "The folder" in problems(make("banking77"))


def test_a_hub_data_set(tmp_path: Path) -> None:
    """Class labels bring their names, numbers are named by hub.label_names, splits and columns are those asked for."""
    datasets = pytest.importorskip("datasets", reason="needs the extra hub")
    rows = {"sentence": [f"s {n}" for n in range(20)], "y": [n % 2 for n in range(20)]}
    features = datasets.Features(sentence=datasets.Value("string"), y=datasets.ClassLabel(names=["no", "yes"]))
    for split in ("train", "test"):
        named = datasets.Dataset.from_dict(rows, features=features)
        named.to_parquet(tmp_path / "named" / f"{split}.parquet")
        (tmp_path / "plain").mkdir(exist_ok=True)
        pd.DataFrame(rows).to_parquet(tmp_path / "plain" / f"{split}.parquet")
    named_id, plain_id = f"task.hub.id={tmp_path / 'named'}", f"task.hub.id={tmp_path / 'plain'}"
    loaded = make("hub", named_id, "task.text=sentence", "task.label=y").load()
    assert loaded.labels == ("no", "yes")
    assert len(loaded.test) == 20
    names = "task.hub.label_names={0:bad,1:good}"
    loaded = make(
        "hub", plain_id, names, "task.hub.text=sentence", "task.hub.label=y", "task.hub.splits={train:test}"
    ).load()
    assert loaded.labels == ("bad", "good")
    assert loaded.facts["rows"]["test"] == 4
    message = problems(make("hub", named_id, "task.label=y"))
    assert "named (train) has no column 'text'." in message
    assert "named (test) has no column 'text'." in message
    assert "has no split dev." in problems(make("hub", named_id, "task.hub.splits={train:train,test:dev}"))
    assert problems(make("hub")) == "task.hub.id is missing: the hub data set's owner/name."


def test_targets_reject_unknown_keys() -> None:
    """A key that a task does not have is an error, not ignored."""
    from harness.errors import HarnessError

    with pytest.raises(HarnessError, match="it takes no shot"):
        build({"_target_": "harness.tasks.text_classification.task.TextClassification", "name": "x", "shot": 3})
