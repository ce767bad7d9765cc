"""All figures of a report."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from harness.api.family import family_of, part
from harness.report.analysis.verdicts import Evidence
from harness.report.cells.cell_summary import CellSummary
from harness.report.figures.base import Drawing, Subject, looks
from harness.report.figures.best_of_budget import budget
from harness.report.figures.critical_difference import ranks
from harness.report.figures.importance import importance
from harness.report.figures.learning_curves import learning
from harness.report.figures.learning_rate import rate
from harness.report.figures.pairwise import pairs
from harness.report.figures.performance_profiles import profiles
from harness.report.figures.score_vs_cost import cost
from harness.report.figures.scores import scores

Figure = Callable[[Subject], Drawing | list[Drawing] | None]

_ONE: tuple[Figure, ...] = (
    scores, cost, pairs, budget, learning, rate, importance,
)  # fmt: skip


def draw(rows: Sequence[CellSummary], evidence: Evidence) -> list[Drawing]:
    """Draw every figure for which there is data: those of each comparison group, then those across groups.

    Args:
        rows: the cells to show.
        evidence: their statistical results; it may cover more cells.
    """
    subjects = _subjects(rows, evidence)
    drawings: list[Drawing] = []
    for subject in subjects:
        for figure in (*_ONE, *_of_family(subject)):
            drawn = figure(subject)
            drawings += drawn if isinstance(drawn, list) else [drawn] if drawn is not None else []
    across = ranks(subjects)
    return [*drawings, *([across] if across is not None else []), *profiles(subjects)]


def _of_family(subject: Subject) -> Iterator[Figure]:
    """Yield the figures that only the family of the group's task has."""
    found = [known for row in subject.question.rows if (known := subject.predictions(row)) is not None]
    if found:
        yield from part(family_of(found[0].family).report).figures.values()


def _subjects(rows: Sequence[CellSummary], evidence: Evidence) -> list[Subject]:
    shown = {id(row) for row in rows}
    used: set[str] = set()
    shared = looks(rows)
    subjects = []
    for question in evidence.questions:
        kept = tuple(row for row in question.rows if id(row) in shown)
        if kept:
            where = " ".join(question.key[:2]).strip() or "All cells"
            subjects.append(Subject(_slug(question.key, used), where, kept, shared, evidence, question))
    return subjects


def _slug(key: tuple[str, str, str], used: set[str]) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(key[:2]).lower()).strip("-")[:40] or "study"
    while slug in used:
        slug = f"{slug}-{len(used) + 1}"
    used.add(slug)
    return slug
