"""What the test scores say, in sentences: descriptive, and the one place to replace when full statistics arrive."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.report.escape import plain
from harness.report.rows import Row, facts, number
from harness.report.wording import listed, mean_and_spread, metric_name, name, plural, score


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Part rows into those that answer the same question (see `Row.question`); their order stays."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault(row.question, []).append(row)
    return list(found.values())


def best(rows: Sequence[Row]) -> Row | None:
    """Give the row with the best mean test score; None if there is none yet."""
    scored = [row for row in rows if row.test_mean is not None]
    return max(scored, key=lambda row: row.better(row.test_mean or 0.0), default=None)


def standard_error(row: Row) -> float | None:
    """Estimate how far a mean test score may be off, as a fraction; None where nothing can be said.

    Counted are the spread over seeds and, for accuracy, the sampling of the test set (binomial). Deterministic methods
    have no spread over seeds, so without the second part any difference of theirs would look certain.
    """
    if row.test_mean is None:
        return None
    parts = [] if row.test_std is None else [row.test_std**2 / len(row.test_values)]
    examples = test_examples(row)
    if row.cell.metric == "accuracy" and examples:
        parts.append(row.test_mean * (1 - row.test_mean) / examples)
    return math.sqrt(math.fsum(parts)) if parts else None


def within_two(top: Row, other: Row) -> bool:
    """Tell whether two means lie within two standard errors of their difference, errors taken as independent."""
    one, two = standard_error(top), standard_error(other)
    if top.test_mean is None or other.test_mean is None or one is None or two is None:
        return False
    return abs(top.test_mean - other.test_mean) <= 2 * math.hypot(one, two)


def test_examples(row: Row) -> int | None:
    """Count the test examples that a row's scores rest on; None if its records do not tell."""
    for record in row.evaluated:
        counted = facts(record).get("rows")
        value = number(counted.get("test")) if isinstance(counted, dict) else None
        if value:
            return int(value)
    return None


def summary(rows: Sequence[Row]) -> list[str]:
    """Say in one sentence a question what was measured and which cell is best; then what did not run."""
    sentences = [_sentence(group) for group in groups(rows)]
    for status, one, many in (
        ("failed", "failed", "failed"),
        ("running", "is still running", "are still running"),
        ("not started", "has not started", "have not started"),
    ):
        cells = [name(row, rows) for row in rows if row.status == status]
        if cells:
            listing = plain(listed(cells), 300)
            be = one if len(cells) == 1 else many
            sentences.append(f"{len(cells)} of {plural(len(rows), 'cell')} {be}: {listing}.")
    return sentences


def basis(rows: Sequence[Row]) -> str | None:
    """Say what "within two standard errors" counts; None where no two cells were compared."""
    if not any(len([row for row in group if row.test_mean is not None]) > 1 for group in groups(rows)):
        return None
    counted = "the spread over seeds"
    examples = {test_examples(row) for row in rows if row.cell.metric == "accuracy" and row.test_mean is not None} - {
        None
    }
    if examples:
        sizes = listed([f"{size:,}" for size in sorted(size for size in examples if size)])
        counted += f" and the sampling of the test set ({sizes} examples)"
    return (
        f"A standard error here counts {counted}, and takes cells as independent. It is a description, not a test: the "
        "best cell was picked from the same scores that it is compared on."
    )


def _sentence(group: Sequence[Row]) -> str:
    task, axes, metric = group[0].question
    where = f"On {task}{f' ({axes})' if axes else ''}" if task else "Here"
    top = best(group)
    if top is None:
        return plain(_without_test(group, where, metric))
    what = "lowest" if top.minimise else "best"
    seeds = plural(len(top.test_values), "seed")
    head = f"{where}, the {what} mean test {metric_name(metric)} is {mean_and_spread(top, unit=True)} ({seeds}), by "
    return plain(f"{head}{name(top, group)}{_comparison(top, group)}")


def _comparison(top: Row, group: Sequence[Row]) -> str:
    others = [row for row in group if row is not top and row.test_mean is not None]
    if not others:
        return "; no other cell has a test score yet." if len(group) > 1 else "."
    if any(standard_error(row) is None for row in (top, *others)):
        return "; how far the scores would vary is not known (one seed), so the differences cannot be judged."
    tied = [name(row, group) for row in others if within_two(top, row)]
    if tied:
        verb = "lies" if len(tied) == 1 else "lie"
        be = "is" if len(tied) == 1 else "are"
        return (
            f"; {listed(tied)} {verb} within two standard errors of it and {be} not distinguishable on this evidence."
        )
    who = "the one other cell" if len(others) == 1 else f"the {len(others)} other cells"
    differ = "differs" if len(others) == 1 else "differ"
    return f"; {who} with a test score {differ} by more than two standard errors."


def _without_test(group: Sequence[Row], where: str, metric: str) -> str:
    scored = [row for row in group if row.val_best is not None]
    if not scored:
        return f"{where}, nothing has been measured yet."
    top = max(scored, key=lambda row: row.better(row.val_best or 0.0))
    value = score(top.val_best, metric, unit=True)
    return (
        f"{where}, no cell has met the test split yet; the best validation {metric_name(metric)} so far is {value}, "
        f"by {name(top, group)}."
    )
