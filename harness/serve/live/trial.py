"""A trial of a second model beside the default one: it gets a share of the requests, or sees them in its shadow."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.serve.settings import Refusal
from harness.statistics.confidence.two_shares import LOOKS, looks
from harness.tasks.object_detection.matching import overlaps

OVERLAP = 0.5  # intersection over union of two boxes that are of the same object


@dataclass
class Trial:
    """Two models of a service, and what feedback says of either.

    Attributes:
        first: the default model.
        second: the one on trial.
        share: of the requests to the paths without a name that the second one answers; 0: it is a shadow, which
            predicts for all of them, and whose predictions are only compared.
        digests: by name, of the files of the models that answer now; feedback on others does not count.
        right: by name, whether the answers that feedback was given on were right, in order.
        compared, same: rows that a shadow has predicted, and those with the same answer, see `agree`.
    """

    first: str
    second: str
    share: float
    digests: dict[str, str] = field(default_factory=dict)
    right: dict[str, list[bool]] = field(default_factory=dict)
    compared: int = 0
    same: int = 0

    def chosen(self) -> str:
        """Return the model that answers the next request."""
        return self.second if random.random() < self.share else self.first

    def begin(self, model: str, digest: str) -> None:
        """Begin with a model, or anew with the one that took its place: nothing is known of its answers."""
        if model in (self.first, self.second):
            self.digests[model] = digest
            self.right[model] = []
            self.compared = self.same = 0

    def add(self, model: str, row: Mapping[str, Any]) -> None:
        """Count a row of feedback, if it says what was answered, and by a model that answers now."""
        if model in self.digests and "predicted" in row and row.get("digest") == self.digests[model]:
            self.right[model].append(row["predicted"] == row["label"])

    def compare(self, answers: Mapping[str, tuple[str, Sequence[Any]]]) -> None:
        """Count the rows for which both models have the same answer, if both answer now.

        Args:
            answers: by name, the digest of the model that answered, and its n answers.
        """
        (one, first), (two, second) = answers[self.first], answers[self.second]
        if (one, two) == (self.digests[self.first], self.digests[self.second]):
            self.compared += len(first)
            self.same += sum(agree(a, b) for a, b in zip(first, second, strict=True))

    def resume(self, directory: Path) -> None:
        """Count the stored feedback on the models that answer now.

        Args:
            directory: of the feedback.
        """
        for model in (self.first, self.second):
            rows = []
            for file in sorted((directory / model).glob("*.jsonl")):
                for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
                    try:
                        rows.append(json.loads(line))
                    except ValueError:  # the file may be edited by hand
                        continue
            kept = [row for row in rows if isinstance(row, dict) and "label" in row]
            for row in sorted(kept, key=lambda row: str(row.get("time"))):
                self.add(model, row)

    def told(self) -> dict[str, Any]:
        """Return what is known, as JSON."""
        first, second = (self.right.get(name, []) for name in (self.first, self.second))
        found = looks(first, second)
        counts = {
            name: {"feedback": len(right), "right": sum(right)}
            for name, right in ((self.first, first), (self.second, second))
        }
        answer: dict[str, Any] = {"first": self.first, "second": self.second, "share": self.share, "feedback": counts}
        if not self.share:
            answer |= {"compared": self.compared, "same": self.same}
        answer |= {"verdict": found[-1].verdict if found else "unresolved"}
        if found:
            last = found[-1]
            answer["look"] = {
                "rows": last.rows, "difference": round(last.difference, 4), "low": round(last.low, 4),
                "high": round(last.high, 4),
            }  # fmt: skip
        following = next((rows for rows in LOOKS if not found or rows > found[-1].rows), None)
        if answer["verdict"] == "unresolved" and following is not None:
            answer["next_look"] = following
        return answer


def agree(one: Any, other: Any) -> bool:
    """Return whether two answers are the same.

    Of what is found in a row the scores do not count: entities are the same if label and place are, and objects if
    each has one of the same label in the other answer that it overlaps enough.
    """
    found = [[each for each in answer if isinstance(each, dict)] for answer in (one, other) if isinstance(answer, list)]
    if len(found) < 2 or not (found[0] or found[1]):
        return bool(one == other)
    first, second = found
    if len(first) != len(second):
        return False
    if "box" not in first[0]:
        places = [{(each["label"], each["start"], each["end"]) for each in answer} for answer in found]
        return places[0] == places[1]
    boxes = [np.array([each["box"] for each in answer], dtype=np.float64) for answer in found]
    shared = overlaps(boxes[0], boxes[1], np.zeros(len(second), dtype=bool))
    shared *= [[a["label"] == b["label"] for b in second] for a in first]
    for row in shared:
        place = int(row.argmax())
        if row[place] < OVERLAP:
            return False
        shared[:, place] = 0  # it is taken
    return True


def answered_by(given: str | None, name: str, trial: Trial | None) -> str:
    """Return which model a row of feedback is for.

    Args:
        given: the model that it names; None: it names none.
        name: the model of the path.
        trial: of which either model may have answered, as on paths without a name; None: only `name` has.

    Raises:
        Refusal: 422; it names none of them, or must name one.
    """
    known = (name,) if trial is None or not trial.share else (trial.first, trial.second)
    if given is None and len(known) > 1:
        raise Refusal(
            422,
            f"{' and '.join(known)} answer here, and this does not say which one did: send model and digest of the "
            "answer, too.",
        )
    if given is not None and given not in known:
        raise Refusal(
            422, f"model must be {' or '.join(known)} here: send feedback on another one to /models/NAME/feedback."
        )
    return given or name


def trial_of(share: str | None, shadow: str | None, names: Mapping[str, Any]) -> Trial | None:
    """Make the trial that the command line asks for; None without one.

    Args:
        share: `NAME=SHARE`, such as `new=0.2`.
        shadow: a name.
        names: the models, the default one first.

    Raises:
        HarnessError: it names no second model, or no share.
    """
    if share is None and shadow is None:
        return None
    if share is not None and shadow is not None:
        raise HarnessError("A second model either answers a share of the requests or is a shadow: --share or --shadow.")
    name, _, number = (share or f"{shadow}=0").partition("=")
    first, *others = names
    option = "--share" if share is not None else "--shadow"
    if name not in others:
        raise HarnessError(
            f"{option} {share or shadow} must name a second model of this service, one of "
            f"{', '.join(others) or 'which there is none: add NAME=PATH'}."
        )
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if share is not None and not 0 < value < 1:
        raise HarnessError(f"--share {share} must be NAME=SHARE with a share between 0 and 1, such as {name}=0.2.")
    return Trial(first, name, value)
