"""What became of entities, and the model that finds none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.api.metric import Undefined
from harness.tasks.token_tagging.entities import Entity
from harness.tasks.token_tagging.report.baseline import baseline
from harness.tasks.token_tagging.report.outcomes import Outcomes, outcome


@pytest.mark.parametrize(
    ("predicted", "became"),
    [
        ([Entity("a", 2, 4)], "found"),
        ([Entity("a", 1, 4)], "ends"),
        ([Entity("b", 2, 3), Entity("a", 3, 4)], "ends"),
        ([Entity("b", 2, 4)], "type"),
        ([Entity("b", 3, 6)], "both"),
        ([Entity("a", 0, 2), Entity("a", 4, 5)], "missed"),
        ([], "missed"),
    ],
)
def test_what_became_of_an_entity(predicted: list[Entity], became: str) -> None:
    """A wrong end is no wrong type; neighbors are neither."""
    assert outcome(Entity("a", 2, 4), predicted) == became


def test_counts_give_precision_and_recall() -> None:
    """By type, the frequent ones first; types that are only predicted come last."""
    counted = Outcomes()
    counted.add(("B-b", "O", "B-a", "I-a"), ("B-b", "B-c", "B-a", "O"), strict=False)
    counted.add(("B-b",), ("O",), strict=False)
    assert counted.types == ["b", "a", "c"] and counted.total("b") == 2
    assert counted.rates("b") == (1.0, 0.5, pytest.approx(2 / 3)) and counted.rates("a") == (0.0, 0.0, 0.0)
    assert counted.spurious == {"c": 1, "b": 0, "a": 0}


def test_a_model_that_finds_nothing() -> None:
    """Entity metrics are 0, token accuracy is the share of words outside; the loss is unknown."""
    labels = np.array([json.dumps(["B-a", "O", "O"]), json.dumps(["O"])], dtype=object)
    assert baseline(labels, "entity_f1").tolist() == [0.0, 0.0]
    assert baseline(labels, "token_accuracy").mean() == pytest.approx(0.75)
    with pytest.raises(Undefined):
        baseline(labels, "loss")
