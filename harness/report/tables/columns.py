"""Columns of report tables, by which definitions also filter, sort and pivot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import formatting
from harness.api.cost import COSTS, reported
from harness.report.analysis.recommendation import cost_of
from harness.report.analysis.verdicts import CellVerdict, ComparisonGroup, Evidence
from harness.report.cells import row_names
from harness.report.cells.cell_summary import CellSummary, mean_std, metric
from harness.report.cells.cost_penalty import cost_penalized
from harness.report.cells.settings import Settings

VERDICTS = ("better", "not worse", "unresolved", "worse")  # from best to worst


@dataclass(frozen=True)
class TableRow:
    """A cell summary with its statistical results.

    Attributes:
        units: whether each score includes its unit, because the rows differ in their metric.
    """

    row: CellSummary
    judgement: CellVerdict
    question: ComparisonGroup
    settings: Settings
    units: bool = False

    @classmethod
    def unjudged(cls, row: CellSummary) -> TableRow:
        """Create the table row of a cell before it is compared."""
        alone = ComparisonGroup(row.question, (row,), (CellVerdict(),), (), None, None, None, "")
        return cls(row, CellVerdict(), alone, Settings())


def cases(rows: Sequence[CellSummary], evidence: Evidence) -> list[TableRow]:
    """Return a table row for each cell."""
    units = len({row.cell.metric for row in rows}) > 1
    known = {
        id(row): TableRow(row, judgement, question, evidence.settings, units)
        for question in evidence.questions
        for row, judgement in zip(question.rows, question.judgements, strict=True)
    }
    return [known[id(row)] for row in rows]


Value = Callable[[TableRow], Any]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: in `table.csv` and in definitions.
        head: header for display.
        value: as a number or text, None if unknown; tables sort by it.
        text: for display.
        numeric: right-aligned.
        csv: whether `table.csv` has it, too.
        falling: the first click on its header sorts from large to small.
        outcome: known only once runs have ended; a definition's filter on it hides rows, and changes no comparison.
        about: explanation of its header.
    """

    name: str
    head: str
    value: Value
    text: Callable[[TableRow], str]
    numeric: bool = True
    csv: bool = True
    falling: bool = False
    outcome: bool = True
    about: str = ""


def _score(name: str, head: str, value: Value) -> Column:
    return Column(
        name, head, value, lambda case: formatting.score(value(case), case.row.cell.metric, case.units), falling=True
    )


def _cost(name: str) -> Column:
    cost = COSTS[name]

    def value(case: TableRow) -> float | None:
        return cost_of(case.row, case.settings, name)

    def text(case: TableRow) -> str:
        spread = case.row.spreads.get(name) if name == case.settings.cost else None
        return formatting.cost(name, value(case)) + (f" ± {formatting.cost(name, spread)}" if spread else "")

    return Column(name, cost.head, value, text, about=cost.about)


def _count(name: str, head: str, value: Value) -> Column:
    return Column(name, head, value, lambda case: str(value(case) or ""))


def _verdict(name: str) -> Value:
    return lambda case: getattr(case.judgement.verdict, name, None)


def _interval(name: str) -> Value:
    return lambda case: getattr(case.judgement.interval, name, None)


def ahead(case: TableRow) -> float | None:
    """Return a row's mean minus the best mean of the others, as a fraction; oriented so that higher is better."""
    row, compared = case.row, case.question.compared
    others = [row.better(each.test_mean) for each in compared if each is not row and each.test_mean is not None]
    if case.judgement.verdict is None or row.test_mean is None or not others:
        return None
    return row.better(row.test_mean) - max(others)


def _interval_text(case: TableRow) -> str:
    known = case.judgement.interval
    if known is None:
        return ""
    low, high = (formatting.score(value, case.row.cell.metric) for value in (known.low, known.high))
    return f"{low} to {high}"


def _gap_text(case: TableRow) -> str:
    value, verdict = ahead(case), case.judgement.verdict
    if value is None or verdict is None:
        return ""
    metric = case.row.cell.metric
    middle, low, high = (formatting.signed(number, metric) for number in (value, verdict.low, verdict.high))
    return f"{middle} ({low} to {high})"


def _by_seed(case: TableRow) -> str:
    return " ".join(formatting.score(value, case.row.cell.metric) for value in case.row.test_values)


def _odds(name: str) -> Value:
    return lambda case: getattr(case.judgement.odds, name, None)


def _probability(name: str) -> Callable[[TableRow], str]:
    def text(case: TableRow) -> str:
        share = _odds(name)(case)
        return "" if share is None else formatting.probability(share)

    return text


_P_BEST = "Probability that the cell is the best of those compared."
_P_WITHIN = "Probability that the cell is less than the margin below the best."


def _selected(name: str) -> Value:
    return lambda case: getattr(case.judgement.selection, name, None)


def _validation_text(case: TableRow) -> str:
    """Return the validation score with its standard error over the validation rows, where it is known."""
    known, metric = case.judgement.selection, case.row.cell.metric
    text = formatting.score(case.row.val_best, metric, case.units and (known is None or known.error is None))
    if known is None or known.error is None:
        return text
    return f"{text} ± {formatting.score(known.error, metric, case.units)}"


def _lead_text(case: TableRow) -> str:
    return formatting.signed(_selected("lead")(case), case.row.cell.metric)


def _gap_of_choice(case: TableRow) -> str:
    return formatting.signed(_selected("gap")(case), case.row.cell.metric)


def _mean_metric(split: str, key: str) -> Column:
    def value(case: TableRow) -> float | None:
        return mean_std(known for record in case.row.evaluated if (known := metric(record, split, key)) is not None)[0]

    return Column(key, key, value, lambda case: formatting.score(value(case), key, unit=True), falling=True)


def _test_metric(key: str, head: str) -> Column:
    """Create a column for a test metric besides the one that selects; empty in records of earlier versions."""
    return replace(_mean_metric("test", key), head=head, falling=False)


def _cost_std(case: TableRow) -> float | None:
    return case.row.spreads.get(case.settings.cost)


def _cost_std_text(case: TableRow) -> str:
    return formatting.cost(case.settings.cost, _cost_std(case))


def _worst_seed(case: TableRow) -> float | None:
    """Return the worst test score of the runs that ended."""
    return min(case.row.test_values, key=case.row.better, default=None)


def _failure_rate(case: TableRow) -> float | None:
    known = case.judgement.failures
    return None if known is None else known.rate


def _failure_text(case: TableRow) -> str:
    known = case.judgement.failures
    return f"{known.number} of {known.ended}" if known is not None and known.number else ""


def _words(name: str, head: str, value: Value, text: Callable[[TableRow], str] | None = None) -> Column:
    """Create a text column that is known once runs have ended."""
    return Column(name, head, value, text or (lambda case: str(value(case) or "")), numeric=False)


def _design(name: str, value: Callable[[CellSummary], str], text: Callable[[CellSummary], str] | None = None) -> Column:
    """Create a text column of what the study requested, known from the start."""
    write = text or value
    return Column(name, name, lambda case: value(case.row), lambda case: write(case.row), numeric=False, outcome=False)


FIELDS: dict[str, Column] = {
    field.name: field
    for field in (
        _design("task", lambda row: row.cell.task),
        _design("model", lambda row: row.cell.model),
        _design("method", lambda row: row.cell.method),
        _design(
            "variant",
            lambda row: formatting.settings(row.cell.variant),
            lambda row: formatting.settings(row.cell.variant, " "),
        ),
        _design("metric", lambda row: row.cell.metric, lambda row: formatting.metric_name(row.cell.metric)),
        _design("cell", lambda row: row.cell.id),
        _design("study", row_names.study),
        Column(
            "test_mean",
            "test",
            lambda case: case.row.test_mean,
            lambda case: row_names.mean_and_spread(case.row, case.units),
            falling=True,
        ),
        _score("test_std", "± over seeds", lambda case: case.row.test_std),
        Column("interval", "interval", _interval("low"), _interval_text, csv=False, falling=True),
        _score("ci_low", "interval from", _interval("low")),
        _score("ci_high", "interval to", _interval("high")),
        _words("verdict", "verdict", _verdict("word")),
        Column("ahead", "against the best other", ahead, _gap_text, csv=False, falling=True),
        _score("gap", "below the best", _verdict("gap")),
        _score("gap_low", "against the best, from", _verdict("low")),
        _score("gap_high", "against the best, to", _verdict("high")),
        _score("detectable", "detectable gap", _verdict("detectable")),
        _count("n_seeds", "seeds", lambda case: len(case.row.seeds)),
        _words("seeds", "their numbers", lambda case: " ".join(map(str, case.row.seeds))),
        _words("test_values", "test by seed", _by_seed),
        _score("worst_seed", "worst seed", _worst_seed),
        _score("counted_mean", "with failures", lambda case: case.judgement.counted_mean),
        Column("failure_rate", "failure rate", _failure_rate, _failure_text),
        Column("val_best", "val", lambda case: case.row.val_best, _validation_text, falling=True),
        _score("val_error", "± of val", _selected("error")),
        _score("val_default", "val of the default", _selected("default")),
        Column("val_lead", "val above the default", _selected("lead"), _lead_text, falling=True),
        Column("val_gap", "val above test", _selected("gap"), _gap_of_choice, falling=True),
        _test_metric("brier", "Brier"),
        _test_metric("calibration_error", "calibration error"),
        _score("pscp", "cost-penalized", lambda case: cost_penalized(case.row, case.question.rows)),
        Column("cost_std", "± of the cost", _cost_std, _cost_std_text),
        Column("p_best", "P(best)", _odds("best"), _probability("best"), falling=True, about=_P_BEST),
        Column("p_within", "P(within)", _odds("within"), _probability("within"), falling=True, about=_P_WITHIN),
        _score("regret", "expected loss", _odds("regret")),
        *(_cost(name) for name in reported()),
        _count("trials", "trials", lambda case: case.row.trials),
        _count("failed", "failed", lambda case: case.row.failed),
        _count("lost", "lost", lambda case: case.row.lost),
        _count("pruned", "pruned", lambda case: case.row.pruned),
        _count("unreadable", "unreadable", lambda case: case.row.cell.unreadable),
        _words("status", "status", lambda case: case.row.status, lambda case: row_names.outcome(case.row)),
        _words("recommended", "recommended", lambda case: "yes" if case.judgement.recommended else None),
        _words("hyperparameters", "hyperparameters", lambda case: formatting.settings(case.row.hyperparameters)),
        _words("error", "error", lambda case: case.row.error),
    )
}


def extra_names(rows: Sequence[CellSummary]) -> list[str]:
    """Return the names that only these rows have: their axes, hyperparameters and metrics."""
    found = dict.fromkeys(key for row in rows for key in (*row.cell.variant, *row.hyperparameters))
    metrics = {
        f"{split}.{name}": None
        for row in rows
        for record in row.evaluated
        for split in record.metrics
        for name in record.metrics[split]
    }
    return [name for name in (*found, *metrics) if name not in FIELDS]


def _metric_field(name: str) -> Column:
    """Create the column of a metric, `test.macro_f1`: the mean over the confirmed runs."""
    split, _, key = name.partition(".")
    head = f"{split} {formatting.metric_name(key)}"
    return replace(_mean_metric(split, key), name=name, head=head)


def field_of(name: str, rows: Sequence[CellSummary]) -> Column | None:
    """Look up a column: one of `FIELDS`, or an axis, a hyperparameter or a metric of these rows; None if unknown."""
    if name in FIELDS:
        return FIELDS[name]
    split, _, key = name.partition(".")
    if any(key in record.metrics.get(split, {}) for row in rows for record in row.evaluated):
        return _metric_field(name)
    axis = any(name in row.cell.variant for row in rows)
    if not axis and not any(name in row.hyperparameters for row in rows):
        return None

    def value(case: TableRow) -> Any:
        own = case.row.cell.variant
        return own[name] if name in own else case.row.hyperparameters.get(name)

    def text(case: TableRow) -> str:
        return "" if value(case) is None else formatting.setting(value(case))

    numbers = all(
        isinstance(known, int | float) and not isinstance(known, bool)
        for row in rows
        if (known := row.cell.variant.get(name, row.hyperparameters.get(name))) is not None
    )
    return Column(name, name, value, text, numeric=numbers, outcome=not axis)
