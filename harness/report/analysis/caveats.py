"""Caveats that a reader must know before the numbers: how configurations were chosen, and what may mislead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import formatting
from harness.records.record import Record
from harness.records.states import RunStatus
from harness.report.analysis.verdicts import ComparisonGroup, Evidence
from harness.report.cells import row_names, selection
from harness.report.cells.cell_summary import CellSummary, facts, number
from harness.report.reading.runs import Run
from harness.report.reading.study import Study

MOST = 40  # notes shown: a full disk, for example, leaves many unreadable records
FEW = 3  # seeds below which the spread over seeds says little
LONGER = 10  # ratio of tuning seconds between two cells from which a note is written
TRUNCATED = 0.01  # fraction of truncated texts from which a note is written
_DIVERGED = re.compile(r"not finite|non-finite|diverge|\bnan\b", re.IGNORECASE)


@dataclass(frozen=True)
class Note:
    """A warning.

    Attributes:
        kind: one word, shown before the text.
    """

    kind: str
    text: str


def notes(study: Study, rows: Sequence[CellSummary], evidence: Evidence, hidden: int = 0) -> list[Note]:
    """Collect the notes without duplicates; a long list is cut and the rest counted."""
    found: dict[Note, None] = {}
    for note in (
        *_ended(rows),
        *searched(study.sweep),
        *(note for question in evidence.questions for note in _seeds(question)),
        *(note for question in evidence.questions if not _joint(study.sweep) for note in _budget(question)),
        *(note for question in evidence.questions for note in _selected(question)),
        *(note for question in evidence.questions for note in _numerics(question)),
        *_data(rows),
        *(Note("Compared", text) for text in evidence.notes),
        *(Note("Files", text) for text in study.warnings),
        *_superseded(rows),
    ):
        found[note] = None
    if hidden:
        text = f"{formatting.plural(hidden, 'row')} that the definition leaves out took part in every comparison."
        found[Note("Rows", text)] = None
    listing = list(found)
    rest = len(listing) - MOST
    return [*listing[:MOST], Note("More", f"And {rest} more of the kind.")] if rest > 0 else listing


def searched(sweep: Mapping[str, Any]) -> Iterator[Note]:
    """Describe the search, unless each cell was tuned separately and from its defaults."""
    tune, cells = sweep.get("tune"), sweep.get("cells")
    tune, cells = tune if isinstance(tune, Mapping) else {}, cells if isinstance(cells, list) else []
    if _joint(sweep):
        trials, seconds = tune.get("trials"), tune.get("seconds")
        parts = [f"{trials} trials" if trials is not None else "", f"{seconds:g} s" if seconds is not None else ""]
        budget = " or ".join(filter(None, parts))
        yield Note(
            "Tuning",
            f"The method was tuned like a hyperparameter (tune.mode=joint): {budget} for all "
            f"methods of a task and model, and only the best {tune.get('finalists')} were confirmed. Methods had "
            "unequal budgets, so this finds a good configuration and does not compare methods.",
        )
    if limits := tune.get("constraints"):
        kept = formatting.listed([f"{cost} {limit:g}" for cost, limit in limits.items()])
        yield Note("Tuning", f"Configurations above {kept} could not be chosen.")
    for entry in cells:
        starts = entry.get("warm_start") if isinstance(entry, Mapping) else None
        if starts:
            listed = formatting.listed([f"{each['cell']} in {each['study']}" for each in starts])
            yield Note("Tuning", f"After the default, {entry.get('id')} first tried the best of {listed}.")


def _joint(sweep: Mapping[str, Any]) -> bool:
    tune = sweep.get("tune")
    return isinstance(tune, Mapping) and tune.get("mode") == "joint"


def _ended(rows: Sequence[CellSummary]) -> Iterator[Note]:
    """Count the runs that left no score, by reason."""
    halted = sum(map(row_names.stopped, rows))
    counts = (
        (sum(row.failed - row.lost for row in rows), "failed"),
        (sum(row.lost for row in rows), "lost (its process was killed)", "lost (their processes were killed)"),
        (sum(row.pruned for row in rows), "ended early for its poor score", "ended early for their poor scores"),
        (halted, "stopped by the budget, to go on with a larger one"),
        (sum(row.running for row in rows) - halted, "still running"),
        (sum(row.cell.unreadable for row in rows), "without a record that can be read"),
    )
    parts = [f"{number:,} {words[number != 1 and len(words) > 1]}" for number, *words in counts if number]
    if parts:
        total = sum(len(row.cell.runs) + row.cell.unreadable for row in rows)
        yield Note("Runs", f"Of {formatting.plural(total, 'run')}: {', '.join(parts)}.")
    diverged = [
        f"{row_names.name(row, rows)} ({gone})"
        for row in rows
        if (gone := sum(_diverged(run) for run in row.cell.runs if run.status == RunStatus.FAILED))
    ]
    if diverged:
        yield Note("Diverged", f"Runs that came to numbers that are not finite: {formatting.listed(diverged)}.")


def _diverged(run: Run) -> bool:
    return _DIVERGED.search(run.record.error or "") is not None


def _seeds(question: ComparisonGroup) -> Iterator[Note]:
    """Warn of cells with too few confirmed seeds."""
    scored = [row for row in question.rows if row.test_mean is not None]
    one = [row_names.name(row, question.rows) for row in scored if len(row.seeds) == 1]
    few = [row_names.name(row, question.rows) for row in scored if 1 < len(row.seeds) < FEW]
    if one:
        yield Note(
            "Seeds",
            f"One seed: what is said of {formatting.listed(one)} holds for the trained models, not for the methods.",
        )
    if few:
        yield Note(
            "Seeds", f"Fewer than {FEW} seeds, so the spread between seeds is hardly known: {formatting.listed(few)}."
        )


def _numerics(question: ComparisonGroup) -> Iterator[Note]:
    """Warn of cells in one comparison group whose runs were computed with other numerics."""
    for key in ("dropout_masks", "precision"):
        found: dict[str, list[str]] = {}
        for row in question.rows:
            if f"train.{key}" in row.cell.variant:
                continue  # the cells are compared by it, and named by it
            for value in {_numeric(record, key) for record in row.evaluated} - {None}:
                found.setdefault(str(value), []).append(row_names.name(row, question.rows))
        if len(found) > 1:
            listed = "; ".join(f"{value}: {formatting.listed(cells)}" for value, cells in sorted(found.items()))
            yield Note(
                "Numerics",
                f"Runs differ in train.{key}, so differences between cells may be differences of the computation: "
                f"{listed}.",
            )


def _numeric(record: Record, key: str) -> str | None:
    """Return how a run computed; None if the key does not apply to it, or is not known."""
    known = record.provenance.get("numerics")
    if isinstance(known, Mapping):
        return None if known.get(key) is None else str(known[key])
    # Versions that recorded nothing had PyTorch's masks; only methods of the training loop count steps.
    return "native" if key == "dropout_masks" and record.cost.get("steps") else None


def _budget(question: ComparisonGroup) -> Iterator[Note]:
    """Warn of cells in one comparison group that were tuned unequally."""
    tuned = [row for row in question.rows if row.cell.space and row.trials]
    if len(tuned) < 2:
        return
    where = f"On {' '.join(question.key[:2]).strip()}, cells" if question.key[0] else "Cells"
    extremes = _extremes(tuned, lambda row: float(row.trials))
    if extremes is not None:
        low, high = extremes
        yield Note(
            "Budget",
            f"{where} were tuned unequally: {formatting.plural(low.trials, 'trial')} of {row_names.name(low, tuned)}, "
            f"{high.trials} of {row_names.name(high, tuned)}. More trials alone find a better best.",
        )
    timed = [row for row in tuned if _tuning(row)]
    extremes = _extremes(timed, _tuning)
    if extremes is not None and _tuning(extremes[1]) > LONGER * _tuning(extremes[0]):
        low, high = extremes
        yield Note(
            "Budget",
            f"{where} had unequal time for tuning: {formatting.duration(_tuning(low))} for "
            f"{row_names.name(low, tuned)}, {formatting.duration(_tuning(high))} for {row_names.name(high, tuned)}.",
        )


def _selected(question: ComparisonGroup) -> Iterator[Note]:
    """Tell how far validation supports the choices of a comparison group."""
    for text in selection.told(question.rows, [judgement.selection for judgement in question.judgements]):
        yield Note("Choice", text)


def _tuning(row: CellSummary) -> float:
    return row.costs.get("tune_seconds") or 0.0


def _extremes(
    rows: Sequence[CellSummary], value: Callable[[CellSummary], float]
) -> tuple[CellSummary, CellSummary] | None:
    if len({value(row) for row in rows}) < 2:
        return None
    return min(rows, key=value), max(rows, key=value)


def _data(rows: Sequence[CellSummary]) -> Iterator[Note]:
    """Describe the data, once for all tasks to which a sentence applies."""
    said: dict[str, dict[str, None]] = {}
    for row in rows:
        for record in latest(row):
            for text in _facts(facts(record)):
                said.setdefault(text, {})[row.cell.task] = None
    for text, tasks in said.items():
        yield Note("Data", f"{formatting.listed(list(tasks))}: {text}")


def _facts(known: dict[str, Any]) -> Iterator[str]:
    if known.get("selected_with"):
        yield f"hyperparameters were {known['selected_with']}."
    warnings = known.get("warnings")
    yield from map(str, warnings if isinstance(warnings, list) else [])
    cut, sizes = known.get("truncated"), known.get("rows")
    if isinstance(cut, dict) and isinstance(sizes, dict):
        for split in cut:
            count, size = number(cut[split]), number(sizes.get(split))
            if count and size and count >= TRUNCATED * size:
                what = f"{count / size:.1%} of the {split} texts were cut{_length(known)}"
                yield f"{what}; what was cut off may matter."


def _length(known: dict[str, Any]) -> str:
    length = number(known.get("max_length"))
    return f" at {length:.0f} tokens (task.max_length)" if length else ""


def _superseded(rows: Sequence[CellSummary]) -> Iterator[Note]:
    for row in rows:
        if row.superseded:
            runs = formatting.plural(row.superseded, "confirmed run")
            what = "of an earlier choice of hyperparameters, seeds or data not counted."
            yield Note("Runs", f"{row_names.name(row, rows)}: {runs} {what}")


def latest(row: CellSummary) -> list[Record]:
    """Return the one record that represents a cell's data, as a list; [] if no run reached its data."""
    candidates = [*row.evaluated, *([row.best_trial] if row.best_trial else [])]
    found = [record for record in candidates if record.data]
    return found[:1] or [run.record for run in row.cell.runs if run.record.data][:1]
