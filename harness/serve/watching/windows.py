"""Statistics of a service's answers on disk: one JSON line a window of time, without any text.

    DIR/NAME/<start>-<pid>-<random>.jsonl   of one process and one model; the keys of a line:
        format, model, digest               `FORMAT`; the model's name and the digest of its files
        from, to                            times, ISO 8601 in UTC
        rows                                answers
        classes                             of each class, answers with it as the most probable one
        confidence                          of each bin of `edges_of` the model's validation rows, answers
        detector, score                     name of the detector and the same of its scores; null without one
        unsure, out_of_scope                answers that were withheld, by reason
        right, wrong                        feedback that said what had been answered
A process writes files of its own, so several may share a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.serving.confidence.stored import TEST, VALIDATION, Confidence, Part
from harness.statistics.confidence.distribution_shift import Edges, edges_of

FORMAT = 1
Counts = npt.NDArray[np.int64]
TEXTS = ("model", "digest", "from", "to")
COUNTED = ("classes", "confidence", "score")
SUMS = ("rows", "unsure", "out_of_scope", "right", "wrong")


@dataclass(frozen=True)
class Reference:
    """What answers are compared with.

    Attributes:
        name: of the rows: validation or test.
        part: these rows, as the model judges them.
        confidence: edges of their confidence.
        scores: edges of each detector's scores.
    """

    name: str
    part: Part
    confidence: Edges
    scores: Mapping[str, Edges]


def reference_of(known: Confidence) -> Reference:
    """Return the validation rows of a model; of one confirmed without any, its test rows.

    Raises:
        HarnessError: it has neither.
    """
    name = VALIDATION if VALIDATION in known.parts else TEST
    part = known.parts.get(name)
    if part is None or not len(part.confidence):
        raise HarnessError("This model keeps neither validation nor test rows to compare with: train it again.")
    return Reference(name, part, edges_of(part.confidence), {each: edges_of(part.scores[each]) for each in part.scores})


@dataclass(frozen=True)
class Window:
    """The counts of some time, of one model; see the module."""

    model: str
    digest: str
    start: str
    end: str
    rows: int
    classes: Counts
    confidence: Counts
    detector: str | None
    score: Counts | None
    unsure: int
    out_of_scope: int
    right: int
    wrong: int

    def line(self) -> str:
        """Return its line."""
        content = {
            "format": FORMAT, "model": self.model, "digest": self.digest, "from": self.start, "to": self.end,
            "rows": self.rows, "classes": self.classes.tolist(), "confidence": self.confidence.tolist(),
            "detector": self.detector, "score": None if self.score is None else self.score.tolist(),
            "unsure": self.unsure, "out_of_scope": self.out_of_scope, "right": self.right, "wrong": self.wrong,
        }  # fmt: skip
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


def read_windows(directory: Path) -> tuple[list[Window], int]:
    """Read all windows of a folder of statistics, or of the folder of one of its models, in the order of their ends.

    Returns:
        The windows; the number of lines that are none, such as one that was cut when a machine stopped.

    Raises:
        HarnessError: there is no such folder, or a file cannot be read.
    """
    if not directory.is_dir():
        raise HarnessError(f"{directory} is no folder: name the one of harness serve --statistics.")
    found, damaged = list[Window](), 0
    for file in sorted([*directory.glob("*.jsonl"), *directory.glob("*/*.jsonl")]):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise HarnessError(f"{file} cannot be read ({error.strerror}).") from None
        for line in text.split("\n"):
            if not line:
                continue
            try:
                found.append(_window(json.loads(line)))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                damaged += 1
    return sorted(found, key=lambda window: (window.end, window.start)), damaged


def _window(line: Any) -> Window:
    """Return the window of a parsed line.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    if not isinstance(line, dict) or line["format"] != FORMAT:
        raise ValueError("another format")
    texts = [line[key] for key in TEXTS]
    numbers = [line[key] for key in SUMS]
    counts = {key: None if line[key] is None else _counts(line[key], line["rows"]) for key in COUNTED}
    detector = line["detector"]
    if not all(isinstance(each, str) for each in (*texts, "" if detector is None else detector)):
        raise TypeError("a text is none")
    if any(datetime.fromisoformat(line[key]).tzinfo is None for key in ("from", "to")):
        raise ValueError("a time has no zone")
    if not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in numbers):
        raise TypeError("a count is none")
    classes, confidence = counts["classes"], counts["confidence"]
    if classes is None or confidence is None or (detector is None) != (counts["score"] is None):
        raise ValueError("counts are missing")
    model, digest, start, end = texts
    rows, unsure, out_of_scope, right, wrong = numbers
    return Window(
        model, digest, start, end, rows, classes, confidence, detector, counts["score"], unsure, out_of_scope, right,
        wrong,
    )  # fmt: skip


def _counts(values: Any, rows: Any) -> Counts:
    if not isinstance(values, list) or not all(type(each) is int and each >= 0 for each in values):
        raise TypeError("counts are none")
    found = np.array(values, dtype=np.int64)
    if int(found.sum()) != rows:
        raise ValueError("counts do not sum to the rows")
    return found
