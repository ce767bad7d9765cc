"""Entity metrics equal seqeval's, and their scores of rows give a bootstrap's standard error."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOBES
from sklearn.metrics import accuracy_score

from harness.api.metric import Undefined, row_scores
from harness.tasks.token_tagging.data import as_objects
from harness.tasks.token_tagging.entities import Entity, encoded, entities, violations
from harness.tasks.token_tagging.metrics import METRICS, TAGGED

TYPES = ("person", "place", "thing")
Rows = tuple[Any, Any]


def rows(count: int, scheme: str, seed: int = 0) -> Rows:
    """Sentences of different lengths with some entities, and predictions that miss, cut, rename and invent some."""
    draw = np.random.default_rng(seed)
    true, seen = [], []
    for _ in range(count):
        length = int(draw.integers(1, 25))
        found, place = list[Entity](), 0
        while place < length:
            if draw.random() < 0.2:
                end = min(place + int(draw.integers(1, 4)), length)
                found.append(Entity(TYPES[min(int(draw.geometric(0.6)) - 1, 2)], place, end))
                place = end
            place += 1
        true.append(encoded(found, length, scheme))
        tags = list(true[-1])
        for at in range(length):
            if draw.random() < 0.06:
                tags[at] = str(draw.choice(["O", "I-person", "B-place", "I-thing"]))
        seen.append(tuple(tags))
    predictions = np.zeros(count, dtype=TAGGED)
    predictions["tags"] = as_objects(seen)
    predictions["words"] = [len(tags) for tags in true]
    predictions["nll"] = draw.gamma(1.0, size=count) * predictions["words"]
    return as_objects(true), predictions


def reference(metric: str, targets: Any, predictions: Any, strict: bool) -> float:
    true, seen = [list(row) for row in targets], [list(row) for row in predictions["tags"]]
    options: dict[str, Any] = {"mode": "strict", "scheme": IOBES} if strict else {}
    if metric == "token_accuracy":
        return float(accuracy_score(*([tag for row in side for tag in row] for side in (true, seen))))
    if metric == "loss":
        return float(predictions["nll"].sum() / predictions["words"].sum())
    function = {"entity_precision": precision_score, "entity_recall": recall_score}.get(metric, f1_score)
    average = "macro" if metric == "entity_macro_f1" else "micro"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(true, seen, average=average, **options))


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@pytest.mark.parametrize("metric", sorted(METRICS))
def test_values_and_scores_of_rows(metric: str, scheme: str) -> None:
    """The value is seqeval's and the mean of the scores; their standard error is that of a bootstrap."""
    targets, predictions = rows(400, scheme)
    known = METRICS[metric]
    value, scores = known.value(targets, predictions), known.per_row(targets, predictions)
    assert value == pytest.approx(reference(metric, targets, predictions, scheme == "BIOES"), abs=1e-12)
    assert scores.shape == (400,)
    assert scores.mean() == pytest.approx(value, abs=1e-10)
    draw = np.random.default_rng(1)
    resampled = [known.value(targets[part], predictions[part]) for part in draw.integers(0, 400, (200, 400))]
    assert scores.std(ddof=1) / 20 == pytest.approx(np.std(resampled), rel=0.2)


def test_what_has_no_value() -> None:
    """Rows without an entity; a model that finds nothing has a value of 0."""
    nothing = as_objects([("O", "O"), ("O",)])
    predictions = np.zeros(2, dtype=TAGGED)
    predictions["tags"] = nothing
    with pytest.raises(Undefined, match="no row has an entity"):
        METRICS["entity_f1"].value(nothing, predictions)
    assert set(row_scores(METRICS, nothing, predictions)) == {"token_accuracy", "loss"}
    some = as_objects([("B-a", "O"), ("O",)])
    for name in ("entity_f1", "entity_macro_f1", "entity_precision", "entity_recall"):
        assert METRICS[name].value(some, predictions) == 0.0
        assert (METRICS[name].per_row(some, predictions) == 0).all()
    predictions["nll"][0] = np.nan
    assert row_scores(METRICS, some, predictions) == {}


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_encoding_and_violations(scheme: str) -> None:
    """Entities survive their tags, which follow the scheme; the conlleval reading forgives what the check tells."""
    found = (Entity("a", 0, 1), Entity("a", 1, 4), Entity("b", 5, 7))
    tags = encoded(found, 8, scheme)
    assert entities(tags, strict=scheme == "BIOES") == found and not violations(tags, scheme)
    assert violations(("O", "I-a"), "BIO") == [1] and entities(("O", "I-a")) == (Entity("a", 1, 2),)
    assert violations(("B-a", "I-b"), "BIO") == [1]
    assert violations(("B-a", "S-a"), "BIOES") == [1] and violations(("I-a", "E-a"), "BIOES") == [0]
