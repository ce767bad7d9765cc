"""Average precision against faster-coco-eval, its standard error against a bootstrap, its intervals in simulation."""

from __future__ import annotations

import numpy as np
import pytest

from harness.api.metric import Undefined, row_scores
from harness.tasks.object_detection.data import NOTHING, Objects, as_objects
from harness.tasks.object_detection.matching import Found, average_precision, match
from harness.tasks.object_detection.metrics import DETECTED, METRICS, OVERLAPS, by_class, influences

EMPTY = Found(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


def drawn(draw: np.random.Generator, images: int, ignored: float = 0.1) -> tuple[list[Objects], list[Found]]:
    """Images with up to five objects, and a model that misses some, is a little off, and invents others."""
    truths, seen = [], []
    for _ in range(images):
        count, invented = int(draw.integers(0, 6)), int(draw.integers(0, 3))
        corners, ease = draw.uniform(0, 80, (count, 2)), draw.beta(2, 1)
        boxes = np.concatenate([corners, corners + draw.uniform(5, 20, (count, 2))], axis=1)
        classes = draw.integers(0, 3, count)
        truths.append(Objects(boxes, classes, draw.random(count) < ignored))
        kept = draw.random(count) < 0.5 + 0.5 * ease
        near = boxes[kept] + draw.normal(0, 1.2, (int(kept.sum()), 4))
        other = draw.uniform(0, 80, (invented, 2))
        wrong = np.concatenate([other, other + draw.uniform(5, 20, (invented, 2))], axis=1)
        seen.append(
            Found(
                np.concatenate([near, wrong]), np.concatenate([classes[kept], draw.integers(0, 3, invented)]),
                np.concatenate([draw.beta(3, 1, len(near)), draw.beta(1, 2, invented)]),
            )
        )  # fmt: skip
    return truths, seen


def test_areas_are_those_of_coco() -> None:
    """COCO takes the mean of precision at 101 recalls, here it is the area: they differ by a hundredth at most."""
    truths, seen = drawn(np.random.default_rng(0), 80)
    for thresholds in ((0.5,), OVERLAPS):
        for label, value in by_class(truths, seen, thresholds).items():
            matched = match(truths, seen, label, thresholds)
            area = np.mean([average_precision(matched, place)[0] for place in range(len(thresholds))])
            assert area == pytest.approx(value, abs=0.011)


def test_known_values() -> None:
    """One of two found: the precision is 1 up to a recall of 1/2, 51 of 101 points. A second box on it is wrong."""
    box = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    truth = [Objects(box, np.zeros(2, np.int64), np.zeros(2, bool))]
    one = [Found(box[:1], np.zeros(1, np.int64), np.array([0.9]))]
    assert by_class(truth, one, (0.5,)) == {0: pytest.approx(51 / 101)}
    double = [Found(box[[0, 0, 1]], np.zeros(3, np.int64), np.array([0.9, 0.8, 0.7]))]
    assert by_class(truth, double, (0.5,)) == {0: pytest.approx((51 + 50 * 2 / 3) / 101)}
    assert by_class(truth, [EMPTY], (0.5,)) == {0: 0.0}
    with pytest.raises(Undefined):
        by_class([NOTHING], one, (0.5,))
    ignored = [Objects(box, np.zeros(2, np.int64), np.array([False, True]))]
    both = [Found(box[::-1], np.zeros(2, np.int64), np.array([0.9, 0.8]))]
    assert by_class(ignored, both, (0.5,)) == {0: pytest.approx(1.0)}
    assert average_precision(match(ignored, both, 0, (0.5,)), 0)[0] == 1.0


def test_scores_of_images_average_to_the_metric() -> None:
    truths, seen = drawn(np.random.default_rng(1), 40)
    predictions = np.zeros(40, dtype=DETECTED)
    predictions["found"] = as_objects(seen)
    scores = row_scores(METRICS, as_objects(truths), predictions)
    assert scores["ap50"].mean() == pytest.approx(METRICS["ap50"].value(as_objects(truths), predictions))
    assert set(scores) == {"ap50", "ap75", "ap", "loss"}


def test_standard_errors_are_those_of_a_bootstrap() -> None:
    draw = np.random.default_rng(2)
    truths, seen = drawn(draw, 80)
    error = influences(truths, seen, (0.5,)).std(ddof=1) / np.sqrt(80)
    values = []
    for _ in range(200):
        rows = draw.integers(0, 80, 80)
        found = by_class([truths[row] for row in rows], [seen[row] for row in rows], (0.5,))
        values.append(np.mean(list(found.values())))
    assert error == pytest.approx(np.std(values), rel=0.2)
