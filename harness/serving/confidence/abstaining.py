"""The rule by which a saved classifier abstains, for a wanted precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.serving.confidence.detectors import least_score
from harness.serving.confidence.stored import OUTSIDE, TEST, VALIDATION, Confidence, Part
from harness.statistics.confidence.abstention import highest_precision, threshold

REJECTED = 0.05  # at most this share of rows that belong to a class is taken for rows that do not
LEVEL = 0.95  # probability with which the wanted precision is reached


@dataclass(frozen=True)
class Answered:
    """What a rule does to rows whose class is known.

    Attributes:
        rows: their number.
        coverage: share that is answered.
        precision: share of these answers that are right; None if nothing is answered.
    """

    rows: int
    coverage: float
    precision: float | None


@dataclass(frozen=True)
class Rule:
    """When to abstain.

    Attributes:
        precision: the wanted share of right answers among rows that belong to a class.
        confidence: below this calibrated probability, a row is not answered.
        detector: of rows that belong to no class; None without one.
        score: below this score of the detector, a row is not answered.
        validation, test: what the rule does to the rows from which it was made, and to test rows; None without these.
        outside: what it does to test rows of no class, whose every answer is wrong; None without these.
    """

    precision: float
    confidence: float
    detector: str | None
    score: float
    validation: Answered
    test: Answered | None
    outside: Answered | None

    def reason(self, confidence: float, score: float | None) -> str | None:
        """Return why a row is not answered; None if it is."""
        if score is not None and score < self.score:
            return f"out of scope: {self.detector} {score:.4g} is below {self.score:.4g}"
        if confidence < self.confidence:
            return f"unsure: confidence {confidence:.4f} is below {self.confidence:.4f}"
        return None

    def sentence(self) -> str:
        """Say what the rule does."""
        shown = self.test or self.validation
        kind = "test" if self.test is not None else "validation"
        text = f"Answers from confidence {self.confidence:.3f}"
        if self.detector is not None:
            text += f" and {self.detector} {self.score:.4g}"
        text += f": {shown.coverage:.1%} of {shown.rows} {kind} rows"
        if shown.precision is not None:
            text += f", {shown.precision:.1%} of them right (wanted {self.precision:.4g})"
        if self.outside is not None:
            text += f"; {self.outside.coverage:.1%} of {self.outside.rows} test rows out of scope"
        return f"{text}."


def rule_for(known: Confidence, precision: float, by_features: bool) -> Rule:
    """Make the rule for a wanted precision from the validation rows.

    The detector and its least score are chosen first, by scores alone, and the threshold on the rows that they keep, so
    that the precision is shown of the answers that are given: rejected rows may be right more often than the others.

    Args:
        known: what the model knows.
        precision: the wanted share of right answers, in (0, 1).
        by_features: whether features of new rows are known.

    Raises:
        HarnessError: the validation rows do not show such a precision at any confidence.
    """
    if not 0 < precision < 1:
        raise HarnessError(f"The precision must lie between 0 and 1, both excluded, such as 0.95, not {precision:g}.")
    rows = known.parts.get(VALIDATION)
    if rows is None:
        raise HarnessError(
            "This model was confirmed without validation rows (task.validation=kfold), so no precision can be shown: "
            "train it with task.validation=split."
        )
    detector = known.detector(by_features)
    least = -np.inf if detector is None else least_score(rows.scores, detector, REJECTED)
    kept = np.ones(len(rows.right), dtype=bool) if detector is None else rows.scores[detector] >= least
    sure, right = rows.confidence[kept], rows.right[kept]
    found = threshold(sure, right, precision, LEVEL)
    if found is None:
        best = highest_precision(sure, right, LEVEL)
        way = f"Ask for at most {best:g}, or train with more validation rows." if best else "Train a better one."
        raise HarnessError(
            f"The {len(rows.right)} validation rows of this model do not show a precision of {precision:g} at any "
            f"confidence (with {LEVEL:.0%} certainty). {way}"
        )

    def done(name: str) -> Answered | None:
        part = known.parts.get(name)
        return None if part is None else _answered(part, found.confidence, detector, least)

    validation = done(VALIDATION)
    assert validation is not None
    return Rule(precision, found.confidence, detector, least, validation, done(TEST), done(OUTSIDE[TEST]))


def _answered(part: Part, confidence: float, detector: str | None, least: float) -> Answered:
    kept: npt.NDArray[Any] = part.confidence >= confidence
    if detector is not None:
        kept = kept & (part.scores[detector] >= least)
    right = float(part.right[kept].mean()) if kept.any() else None
    return Answered(len(kept), float(kept.mean()), right)
