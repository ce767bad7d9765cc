"""Whether a service's answers are still like those for the model's validation rows, looked at again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from harness.serve.watching.windows import Counts, Reference, Window
from harness.statistics.confidence.distribution_shift import Edges, beyond_p, mix_p, more_p, stability_index

BLOCK = 250  # answers between two looks; also the fewest that are tested
SPANS = (1, 2, 8)  # blocks before a look that are tested together: sudden changes, and slow ones
WEEK = timedelta(days=7)  # looks share the error rate of one
CLASSES, CONFIDENCE, DISTANCE, FEEDBACK = "classes", "confidence", "distance", "feedback"  # what is tested
NONE = 0.0  # level of a test that is not part of a look
TOLD = 5  # classes whose share changed the most


@dataclass(frozen=True)
class Finding:
    """A test of one kind at one look.

    Attributes:
        kind: what is tested.
        rows: answers tested; of feedback, those that it was given on.
        p: p value, of all edges together where there are several.
        level: p values up to this one are drift.
        size, chance: population stability index, and its mean without drift; None of feedback.
        changes: (what, share in the reference, share now), the largest change first.
    """

    kind: str
    rows: int
    p: float
    level: float
    size: float | None
    chance: float | None
    changes: tuple[tuple[str, float, float], ...]

    @property
    def drift(self) -> bool:
        """Whether it tells drift."""
        return self.p <= self.level


@dataclass(frozen=True)
class Look:
    """What is tested after a block.

    Attributes:
        number: from 1.
        time: of the end of the block.
        rows: answers so far.
        findings: of each kind the span with the smallest p value.
    """

    number: int
    time: str
    rows: int
    findings: tuple[Finding, ...]

    @property
    def drift(self) -> bool:
        """Whether one of them tells drift."""
        return any(each.drift for each in self.findings)


def looks(
    windows: Sequence[Window], reference: Reference, right: tuple[int, int], labels: Sequence[str], alpha: float = 0.05
) -> list[Look]:
    """Return all looks at the windows of one model.

    Looks are at planned numbers of answers, not when somebody asks, so that asking more often changes nothing. A look
    has as much of a week's error rate as its block has of a week, at most all of it, which is divided over the kinds
    that are tested and the spans (Bonferroni): without drift, at most a share alpha of weeks tells any, on average. So
    a service of few answers, with a look a week, is as well watched as one of many, whose looks have more to count.

    Args:
        windows: in the order of time, at least one, all of one model.
        reference: what they are compared with.
        right: right answers and all, for the rows with which feedback is compared.
        labels: the C class names.
        alpha: error rate of a week.
    """
    blocks, found, rows = list[list[Window]](), list[Look](), 0
    block: list[Window] = []
    before = min(_time(each.start) for each in windows)
    for window in windows:
        block.append(window)
        if sum(each.rows for each in block) < BLOCK:
            continue
        blocks.append(block)
        rows += sum(each.rows for each in block)
        end = _time(window.end)
        part = max(0.0, min(1.0, (end - before) / WEEK))
        before = end
        spans = [[each for one in blocks[-span:] for each in one] for span in SPANS if span <= len(blocks)]
        tests: dict[str, list[Finding]] = {}
        for span in spans:
            for finding in _tested(span, reference, right, labels):
                tests.setdefault(finding.kind, []).append(finding)
        level = alpha * part / (len(tests) * len(spans))
        best = (min(each, key=lambda finding: finding.p) for each in tests.values())
        found.append(Look(len(found) + 1, window.end, rows, tuple(replace(each, level=level) for each in best)))
        block = []
    return found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _tested(
    windows: Sequence[Window], reference: Reference, right: tuple[int, int], labels: Sequence[str]
) -> list[Finding]:
    """Return the test of each kind on the windows of a span, still without a level."""
    found: list[Finding] = []
    expected = reference.part.classes
    if expected is not None:
        counts = _sum([each.classes for each in windows])
        found.append(_mix(expected, counts, labels))
    found.append(_scores(CONFIDENCE, reference.confidence, [each.confidence for each in windows], "confidence"))
    scored = [each.score for each in windows if each.score is not None]
    names = {each.detector for each in windows}
    if len(scored) == len(windows) and len(names) == 1 and (name := str(names.pop())) in reference.scores:
        found.append(_scores(DISTANCE, reference.scores[name], scored, name))
    told = sum(each.right + each.wrong for each in windows)
    if told and right[1]:
        wrong, before = sum(each.wrong for each in windows), right[1] - right[0]
        p = more_p(before, right[1], wrong, told)
        found.append(Finding(FEEDBACK, told, p, NONE, None, None, (("wrong", before / right[1], wrong / told),)))
    return found


def _mix(expected: Counts, counts: Counts, labels: Sequence[str]) -> Finding:
    before, after = expected / expected.sum(), counts / counts.sum()
    places = np.argsort(-abs(after - before), kind="stable")[:TOLD].tolist()
    changes = tuple((labels[place], float(before[place]), float(after[place])) for place in places)
    return Finding(
        CLASSES, int(counts.sum()), mix_p(expected, counts), NONE, *stability_index(expected, counts), changes
    )


def _scores(kind: str, edges: Edges, parts: Sequence[Counts], what: str) -> Finding:
    counts = _sum(parts)
    values = beyond_p(edges, counts)
    before, after = edges.shares(), edges.beyond(counts) / counts.sum()
    at = int(np.argmin(values))
    name = f"{what} {'above' if edges.upper[at] else 'below'} {edges.values[at]:.4g}"
    changes = ((name, float(before[at]), float(after[at])),)
    p = min(1.0, float(values.min()) * len(values))
    reference = np.diff([0, *edges.orders.tolist(), edges.rows])
    return Finding(kind, int(counts.sum()), p, NONE, *stability_index(reference, counts), changes)


def _sum(parts: Sequence[Counts]) -> Any:
    return np.sum(np.stack(parts), axis=0)
