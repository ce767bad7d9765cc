"""The precision that a rule promises holds for the rows that it answers, whatever the detector rejects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.serving.confidence.abstaining import rule_for
from harness.serving.confidence.stored import OUTSIDE, VALIDATION, Confidence, Part

WANTED = 0.815
REJECTED = 0.05


def rows(source: np.random.Generator, count: int, graded: bool) -> tuple[Any, Any, dict[str, Any], Any]:
    """Rows of which those that a detector scores lowest are always right: confidence, right, scores, P(right).

    Args:
        source: of randomness.
        count: of rows.
        graded: whether confidences differ; else they are all the same, and say nothing.
    """
    confidence = source.random(count) if graded else np.full(count, 0.9)
    score = source.random(count)
    probability = np.where(score < REJECTED, 1.0, 0.6 + 0.4 * confidence if graded else 0.812)
    scores = {"mahalanobis": score, "knn": score + 0.1 * source.normal(size=count), "confidence": confidence}
    return confidence, source.random(count) < probability, scores, probability


@pytest.mark.parametrize("graded", [True, False])
def test_promise_holds_for_the_answers_that_are_given(graded: bool) -> None:
    """In at least 95 % of samples, the detector chosen on them, too; bounds over all rows miss it in most of them."""
    confidence, _, scores, probability = rows(np.random.default_rng(0), 200_000, graded)
    missed, answered, samples = 0, 0, 200
    for number in range(samples):
        source = np.random.default_rng([1, number])
        sure, right, found, _ = rows(source, 12_000, graded)
        beyond, _, low, _ = rows(source, 200, graded)
        low = {name: each if name == "confidence" else each - 0.5 for name, each in low.items()}
        outside = Part(beyond, np.zeros(200, dtype=bool), low)
        known = Confidence(1.0, {VALIDATION: Part(sure, right, found), OUTSIDE[VALIDATION]: outside}, tuple(found))
        try:
            rule = rule_for(known, WANTED, by_features=True)
        except HarnessError:
            continue  # nothing is promised
        assert rule.detector in ("mahalanobis", "knn")
        kept = (confidence >= rule.confidence) & (scores[rule.detector] >= rule.score)
        answered += 1
        missed += probability[kept].mean() < WANTED
    assert missed <= samples * 0.05
    assert answered > samples / 2 if graded else answered > 0


def test_rule_without_a_detector_is_the_threshold() -> None:
    """No detector: all rows count, and the most that can be asked for is told."""
    source = np.random.default_rng(3)
    sure = source.random(500)
    known = Confidence(1.0, {VALIDATION: Part(sure, source.random(500) < 0.5 + sure / 2)})
    rule = rule_for(known, 0.8, by_features=False)
    assert rule.detector is None and 0 < rule.validation.coverage < 1
    assert rule.validation.precision is not None and rule.validation.precision >= 0.8
    with pytest.raises(HarnessError, match=r"Ask for at most 0\.\d+"):
        rule_for(known, 0.999, by_features=False)
