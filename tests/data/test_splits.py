"""Shots and the three ways to validate."""

from __future__ import annotations

import numpy as np

from harness.data.dataset import Split
from tests.helpers.text_tasks import Write, own, problems, rows_csv


def many(per_class: int = 12, labels: tuple[str, ...] = ("a", "b", "c")) -> list[tuple[str, ...]]:
    return [(f"text {number} of {label}", label) for number in range(per_class) for label in labels]


def forms(*parts: Split) -> set[str]:
    return {text.lower() for part in parts for text in part.texts}


def test_shots_are_validated_on_a_pool_beyond_them(write: Write) -> None:
    """A class trains on k rows; the pool is balanced, capped, and disjoint from shots and test, letter case aside."""
    rows = many(40)
    rows += [(text.upper(), label) for text, label in rows]
    test = str(write("test.csv", rows_csv([("Text 0 of A", "a"), ("text 1 of b", "b"), ("new", "c")])))
    data = own(write("rows.csv", rows_csv(rows)), test_path=test, shots=3, pool_per_class=5).load()
    assert data.validation is not None
    assert np.bincount(data.train.targets).tolist() == [3, 3, 3]
    assert np.bincount(data.validation.targets).tolist() == [5, 5, 5]
    assert not forms(data.validation) & forms(data.train, data.test)
    assert len(forms(data.validation)) == 15
    assert data.facts["validation"] == "pool"
    assert data.facts["selected_with"] == "selected with 15 labels beyond the shots"


def test_the_draw_fixes_shots_and_pool(write: Write) -> None:
    """Another draw takes other shots and another pool, and leaves the test rows alone."""
    path = write("rows.csv", rows_csv(many(40)))
    one, other = (own(path, shots=3, pool_per_class=5, draw=draw).load() for draw in (0, 1))
    assert one.test.ids.tolist() == other.test.ids.tolist()
    assert one.train.ids.tolist() != other.train.ids.tolist()
    assert one.validation is not None
    assert other.validation is not None
    assert one.validation.ids.tolist() != other.validation.ids.tolist()


def test_a_given_validation_split_is_the_default_with_shots(write: Write) -> None:
    """Its rows are labels beyond the shots too, and said to be."""
    dev = str(write("dev.csv", rows_csv([("d", "a"), ("e", "b"), ("f", "c")])))
    path = write("rows.csv", rows_csv(many()))
    data = own(path, shots=2, validation_path=dev).load()
    assert data.facts["validation"] == "split"
    assert data.facts["selected_with"] == "selected with 3 labels beyond the shots"
    within = own(path, shots=4, validation="split", validation_fraction=0.25).load()
    assert within.facts["rows"]["train"] == 9
    assert within.facts["selected_with"] == "selected on 3 rows held out of the training rows"


def test_folds_lie_within_the_shots(write: Write) -> None:
    """Every shot validates once, every fold has every class, and the run may train on all shots."""
    data = own(write("rows.csv", rows_csv(many())), shots=4, validation="kfold", folds=2).load()
    assert data.validation is None
    assert len(data.train) == 12
    assert len(data.folds) == 2
    held = np.concatenate([validation.ids for _, validation in data.folds])
    assert sorted(held) == sorted(data.train.ids)
    for number, (train, validation) in enumerate(data.folds):
        assert (train.name, validation.name) == (f"train{number}", f"validation{number}")
        assert np.bincount(validation.targets).tolist() == [2, 2, 2]
        assert not set(train.ids) & set(validation.ids)
    assert data.facts["selected_with"] == "selected in 2 folds of the training rows"


def test_too_few_rows_for_the_shots_names_the_classes(write: Write) -> None:
    """Each short class with its count, and the most shots that can be had."""
    rows = [*many(12, ("a",)), *many(5, ("b",)), *many(4, ("c",))]
    path, test = write("rows.csv", rows_csv(rows)), str(write("test.csv", rows_csv([("t", "a")])))
    message = problems(own(path, test_path=test, shots=6))
    assert (
        "task.shots=6 needs 6 training rows of every class; fewer have b (5), c (4). Set task.shots to at most 4"
        in message
    )


def test_no_pool_beyond_the_shots(write: Write) -> None:
    """When the shots are all there is, folds are offered."""
    test = str(write("test.csv", rows_csv([("t", "a")])))
    message = problems(own(write("rows.csv", rows_csv(many(3))), test_path=test, shots=3))
    assert message == (
        "task.validation=pool takes training rows beyond the shots, and there are none. Set task.validation=kfold, or "
        "give a validation split (task.validation_path)."
    )


def test_classes_too_small_to_split(write: Write) -> None:
    """A class of one row cannot be held out, nor can fewer rows than there are classes, nor fewer rows than folds."""
    lonely = write("lonely.csv", rows_csv([*many(10, ("a", "b")), ("alone", "c")]))
    assert (
        "Holding out test rows needs at least 2 rows of every class, equal texts counted once; one has c."
        in problems(own(lonely))
    )
    path = write("rows.csv", rows_csv(many(10)))
    message = problems(own(path, test_fraction=0.05))
    assert "task.test_fraction=0.05 of 30 rows leaves 2 for test and 28 for training" in message
    assert "at least one for each of the 3 classes" in message
    test = str(write("test.csv", rows_csv([("t", "a")])))
    shots = own(path, test_path=test, shots=1, validation="split")
    assert (
        "Holding out validation rows needs at least 2 rows of every class, equal texts counted once; one has a, b, c."
        in problems(shots)
    )
    small = write("small.csv", rows_csv([*many(10, ("a", "b")), *many(3, ("c",))]))
    message = problems(own(small, test_path=test, validation="kfold"))
    assert "task.folds=5 needs 5 training rows of every class; fewer have c (3). Set task.folds to at most 3" in message
