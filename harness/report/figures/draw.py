"""All figures of a report."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.report.evidence import Evidence
from harness.report.figures.base import Drawing, Subject, looks
from harness.report.figures.budget import budget
from harness.report.figures.confusion import confusion
from harness.report.figures.cost import cost
from harness.report.figures.importance import importance
from harness.report.figures.learning import learning
from harness.report.figures.pairs import pairs
from harness.report.figures.profile import profiles
from harness.report.figures.ranks import ranks
from harness.report.figures.rate import rate
from harness.report.figures.scores import scores

# What the names of all figures begin with, before a dash.
PREFIXES = (
    "scores", "cost", "pairs", "trials", "seconds", "learning", "rate", "importance", "confusion", "ranks", "profile",
)  # fmt: skip
_ONE: tuple[Callable[[Subject], Drawing | list[Drawing] | None], ...] = (
    scores, cost, pairs, budget, learning, rate, importance, confusion,
)  # fmt: skip


def draw(evidence: Evidence) -> list[Drawing]:
    """Draw every figure that there is data for: those of each question, then those across questions."""
    subjects = _subjects(evidence)
    drawings: list[Drawing] = []
    for subject in subjects:
        for figure in _ONE:
            drawn = figure(subject)
            drawings += drawn if isinstance(drawn, list) else [drawn] if drawn is not None else []
    across = ranks(subjects)
    return [*drawings, *([across] if across is not None else []), *profiles(subjects)]


def _subjects(evidence: Evidence) -> list[Subject]:
    used: set[str] = set()
    shared = looks([row for question in evidence.questions for row in question.rows])
    return [
        Subject(
            slug=_slug(question.key, used),
            where=" ".join(question.key[:2]).strip() or "All cells",
            rows=question.rows,
            looks=shared,
            evidence=evidence,
            question=question,
        )
        for question in evidence.questions
    ]


def _slug(key: tuple[str, str, str], used: set[str]) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(key[:2]).lower()).strip("-")[:40] or "study"
    while slug in used:
        slug = f"{slug}-{len(used) + 1}"
    used.add(slug)
    return slug
