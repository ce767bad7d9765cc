"""Rows that belong together stay together, in each way to split; what cannot be split so is told."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.dataset import Dataset, Split
from harness.data.groups import hold_out
from harness.errors import HarnessError
from harness.tasks.text_generation.task import TextGeneration
from harness.tasks.text_regression.task import TextRegression
from tests.helpers.text_tasks import Write, make, own, problems, rows_csv

WORDS = ("parcel", "refund", "invoice", "login", "courier", "voucher", "garage", "violin", "harbor", "meadow")


def messages(groups: int = 30, each: int = 6, labels: tuple[str, ...] = ("a", "b", "c")) -> list[tuple[str, ...]]:
    """Rows (text, label, customer); customers have several labels."""
    source = random.Random(0)
    return [
        (
            " ".join([*source.choices(WORDS, k=6), str(number)]),
            labels[(customer + number) % len(labels)],
            f"c{customer}",
        )
        for customer in range(groups)
        for number in range(each)
    ]


def csv(write: Write, rows: list[tuple[str, ...]], name: str = "rows.csv") -> Path:
    return write(name, rows_csv(rows, "text,label,customer"))


def of(*parts: Split | None) -> list[set[str]]:
    found = []
    for part in parts:
        assert part is not None
        assert part.groups is not None
        found.append({str(group) for group in part.groups})
    return found


def disjoint(data: Dataset) -> bool:
    train, validation, test = of(data.train, data.validation, data.test)
    return not (train & validation or train & test or validation & test)


def test_no_group_is_in_two_splits(write: Write) -> None:
    """Held-out rows are whole groups, about as many rows of each class as asked for, and the same each time."""
    path = csv(write, messages())
    data, again = (own(path, group="customer").load() for _ in range(2))
    assert disjoint(data)
    assert data.facts["groups"] == {"train": 20, "validation": 4, "test": 6}
    assert data.facts["rows"] == {"train": 120, "validation": 24, "test": 36}
    assert np.bincount(data.test.targets).tolist() == [12, 12, 12]
    assert again.fingerprint == data.fingerprint != own(path).load().fingerprint
    assert own(path, group="customer", split_seed=1).load().fingerprint != data.fingerprint


@pytest.mark.parametrize("more", [{"validation": "pool", "shots": 4}, {"shots": 9, "validation": "split"}])
def test_shots_and_their_validation_rows_have_groups_of_their_own(write: Write, more: dict[str, Any]) -> None:
    """Rows of a shot's group are no validation rows, whether these are drawn from the pool or from the shots."""
    assert disjoint(own(csv(write, messages()), group="customer", pool_per_class=5, **more).load())


def test_folds_keep_groups_whole(write: Write) -> None:
    """Each training row validates once, and every fold trains on every class."""
    data = own(csv(write, messages()), group="customer", validation="kfold", folds=4).load()
    for rest, held in data.folds:
        one, other = of(rest, held)
        assert not one & other
        assert set(rest.targets) == {0, 1, 2}
    assert sum(len(held) for _, held in data.folds) == len(data.train)


def test_a_pool_without_other_groups_is_refused(write: Write) -> None:
    """Every customer is among the shots, so nothing is left."""
    message = problems(own(csv(write, messages(4, 30)), group="customer", shots=15, test_fraction=0.5))
    assert "training rows beyond the shots of other groups (task.group), and there are none" in message


def test_groups_of_given_splits_may_overlap_and_that_is_told(write: Write) -> None:
    """A split that the user gives stays as it is."""
    test = [(f"question {number} of {label}", label, f"c{number}") for number in range(28, 34) for label in "ab"]
    data = own(csv(write, messages()), group="customer", test_path=str(csv(write, test, "test.csv"))).load()
    assert any(each.startswith("1 of 6 test groups (2 of 12 rows) are training groups, too") for each in data.warnings)


def test_regression_and_generation_group_likewise(write: Write) -> None:
    """Numbers have no classes; a prompt that two groups share joins them."""
    path = csv(write, [(text, str(number % 7), group) for number, (text, _, group) in enumerate(messages())])
    shared = {"name": "mine", "path": str(path), "group": "customer"}
    assert disjoint(TextRegression(**shared).load())
    folded = TextRegression(**shared, validation="kfold", folds=3).load()
    assert all(not set.intersection(*of(*fold)) for fold in folded.folds)

    rows = [(f"prompt {number % 40}", f"answer {number}", f"c{number // 4}") for number in range(60)]
    wrote = TextGeneration(
        name="mine", path=str(csv(write, rows, "prompts.csv")), prompt="text", completion="label", group="customer"
    ).load()
    assert disjoint(wrote)
    assert not set(wrote.test.texts) & set(wrote.train.texts)
    assert wrote.facts["groups"]["train"] + wrote.facts["groups"]["validation"] + wrote.facts["groups"]["test"] == 10
    kept = wrote.test.take(np.array([0]), "one")
    assert kept.groups is not None
    assert kept.groups.tolist() == wrote.test.groups[:1].tolist()  # type: ignore[index]  # it has groups


@pytest.mark.parametrize(
    ("rows", "fields", "part"),
    [
        (
            messages(),
            {"group": "client"},
            "has no column 'client'. Known: customer, label, text. Choose with task.group",
        ),
        (messages(1, 40), {"group": "customer"}, "all 40 train rows belong to the group 'c0'"),
        (messages(2, 40), {"group": "customer"}, "2 groups are too few to hold out test rows"),
        (messages(), {"group": "label"}, "task.group and task.label both name the column 'label'"),
        (messages(), {"group": ["customer", "label"]}, "task.group names one column"),
        (
            [*messages(), ("lost one", "a", "")],
            {"group": "customer"},
            "1 of 181 rows have no group in column 'customer'",
        ),
        (
            messages(4),
            {"group": "customer", "validation": "kfold", "folds": 5, "test_fraction": 0.5},
            "task.group gives 2. Set",
        ),
    ],
)
def test_what_cannot_be_grouped_is_refused(
    write: Write, rows: list[tuple[str, ...]], fields: dict[str, Any], part: str
) -> None:
    """Before any compute, with what to do."""
    assert part in problems(own(csv(write, rows), **fields))


def test_the_advice_about_large_groups_holds(write: Write) -> None:
    """Groups that are larger than a split: the fraction that is named takes them, and another size is told."""
    path = csv(write, messages(6, 30))
    refused = "groups of 30 to 30 rows are too large for task.test_fraction=0.05 of 180 rows; the 2 smallest"
    assert refused in problems(own(path, group="customer", test_fraction=0.05))
    source = np.random.default_rng(0)
    for seed in range(200):
        sizes = source.integers(1, 60, source.integers(3, 8))
        groups = np.repeat([f"g{number}" for number in range(len(sizes))], sizes).astype(object)
        try:
            hold_out(groups, None, 0.1, seed, "test")
        except HarnessError as error:
            advised = re.search(r"Set task.test_fraction=([\d.]+),", str(error))
            assert advised is not None
            hold_out(groups, None, float(advised[1]), seed, "test")
    data = own(path, group="customer", test_fraction=0.25).load()
    assert data.facts["groups"]["test"] == 2
    assert "Groups stay whole, so 60 rows are held out for test in place of 45." in data.warnings


def test_a_group_of_each_row_joins_nothing(write: Write) -> None:
    """It is a note, as the splits are right."""
    rows = [(text, label, str(number)) for number, (text, label, _) in enumerate(messages())]
    data = own(csv(write, rows), group="customer").load()
    assert any(each.startswith("task.group gives every row a group of its own") for each in data.warnings)


def test_every_class_keeps_a_group_for_training() -> None:
    """A class whose rows all belong to one group is not held out."""
    groups = np.array(["x"] * 20 + [f"g{number}" for number in range(80)], dtype=object)
    classes = ["rare"] * 20 + ["often"] * 80
    for seed in range(20):
        held = hold_out(groups, classes, 0.3, seed, "test")
        assert not held[:20].any()
        assert 20 <= held.sum() <= 30


def test_large_groups_are_drawn_as_often_as_small_ones() -> None:
    """A random order decides, not the size: otherwise the test rows would be those of the largest groups."""
    groups = np.array([f"g{number}" for number in range(40) for _ in range(1 if number % 2 else 5)], dtype=object)
    large = np.array([int(group[1:]) % 2 == 0 for group in groups])
    share = np.mean([large[hold_out(groups, None, 0.25, seed, "test")].mean() for seed in range(100)])
    assert abs(share - large.mean()) < 0.03


def test_a_test_split_of_one_group_is_refused() -> None:
    """One group tells nothing of others."""
    with pytest.raises(HarnessError, match="2 are needed for test, and one of every class for training"):
        hold_out(np.array(["a"] * 30 + ["b"] * 30, dtype=object), None, 0.5, 0, "test")


def test_the_demo_has_templates_as_groups() -> None:
    """The messages and splits stay as they are; phrasings name the groups."""
    plain, grouped = make("demo").load(), make("demo", "task.group=template").load()
    assert plain.test.texts == grouped.test.texts
    assert plain.test.groups is None
    (found,) = of(grouped.test)
    assert 200 < len(found) < 400
    assert grouped.fingerprint != plain.fingerprint
    assert any("test groups" in each and "are training groups, too" in each for each in grouped.warnings)
    assert "task.group must be template or null, not 'intent'" in problems(make("demo", "task.group=intent"))
