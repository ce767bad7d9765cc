"""Which saved model a study, a run or a folder stands for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, nearest
from harness.records.locate import find, find_model, is_study
from harness.records.record import Record
from harness.records.states import Phase, RunStatus
from harness.records.study_files import DESCRIPTION, RunPaths
from harness.report.analysis.merge import merge
from harness.report.analysis.verdicts import ComparisonGroup, Evidence, evidence
from harness.report.cells.cell_summary import CellSummary
from harness.report.reading.runs import Run
from harness.report.reading.study import Study, load
from harness.report.tables.definition import Definition, judged_by


def serve_argument(directory: Path) -> str:
    """Return a path as `harness serve` takes it, quoted for a shell: NAME=PATH names a model."""
    text = str(directory)
    return shlex.quote(f"./{text}" if "=" in text.partition("/")[0] else text)


@dataclass(frozen=True)
class Winner:
    """A saved model, and what its study says of it.

    Attributes:
        model: the directory of the saved model.
        run: the run that saved it; None if the folder lies in no run's directory.
        cell, group, found: its cell, what that was compared with, and all results; None for a model without a study.
        why: why it is this cell.
    """

    model: Path
    run: RunPaths | None = None
    cell: CellSummary | None = None
    group: ComparisonGroup | None = None
    found: Evidence | None = None
    study: Study | None = None
    why: str = ""


def winner(named: str | Path, runs_dir: Path, cell: str | None = None) -> Winner:
    """Return the model that a name or path stands for: of a study, the cell that its report recommends.

    Args:
        named: a study, a run's directory, a saved model's, or an export.
        runs_dir: the directory of studies.
        cell: the cell to take of a study; None: the recommended one.

    Raises:
        HarnessError: there is no such model, the study holds several questions, or the model was not saved.
    """
    for place in _studies(str(named), runs_dir):
        return _of_study(place, cell)
    if cell is not None:
        raise HarnessError(f"--cell {cell} chooses a cell of a study, and {named} is none: leave --cell out.")
    model = find_model(named, runs_dir)
    if not model.is_dir():
        find(named, runs_dir)  # raises an error that names the studies that there are
    run = RunPaths(model.absolute().parent)
    return Winner(model, run if Record.read(run.record) is not None else None)


def cells_of(named: Sequence[str], runs_dir: Path, cell: str | None) -> list[str | None]:
    """Return the cell to take of each of several models: the one of `--cell` of studies, None of others.

    While none is a study it is returned for all, so that `winner` says so.
    """
    studies = [bool(_studies(each, runs_dir)) for each in named]
    return [cell if study or not any(studies) else None for study in studies]


def _studies(named: str, runs_dir: Path) -> list[Path]:
    path = Path(named)
    plain = named and not (path.is_absolute() or named.startswith("."))
    places = [runs_dir / path, path] if plain else [path]
    return [place for place in places if is_study(place) and not (place / DESCRIPTION).is_file()][:1]


def _of_study(directory: Path, cell: str | None) -> Winner:
    study, every = merge([load(directory)], "")
    rows = Definition().compared(every)
    found = evidence(study, rows, judged_by(study, Definition()))
    pick = _named(rows, cell, directory) if cell is not None else None
    group = next((each for each in found.questions if pick in each.rows), None) if pick else _only(found, directory)
    if group is None:
        raise HarnessError(f"{directory} has no cell with a result yet: let the study run, then ask again.")
    why = "named by --cell"
    if pick is None:
        today = next((row for row in group.rows if found.of(row).today), None)
        pick, why = next(
            (row, reason)
            for row, reason in (
                (group.recommended, "recommended: the cheapest that is shown to be as good as the best"),
                (today, "the choice of least expected loss, while no cell is shown to be as good as the best"),
                (group.best, "the best mean test score"),
                (group.rows[0], "the best validation score"),
            )
            if row is not None
        )
    run = _saved(pick, directory)
    return Winner(run.paths.model, run.paths, pick, group, found, study, why)


def _named(rows: Sequence[CellSummary], cell: str, directory: Path) -> CellSummary:
    known = {row.cell.id: row for row in rows}
    same = [row for row in rows if row.cell.method == cell]
    if cell in known:
        return known[cell]
    if len(same) == 1:
        return same[0]
    raise HarnessError(f"--cell {cell} is no cell of {directory}. {nearest(cell, known)}")


def _only(found: Evidence, directory: Path) -> ComparisonGroup | None:
    if len(found.questions) > 1:
        first = [(each.recommended or each.best or each.rows[0]).cell.id for each in found.questions]
        raise HarnessError(
            f"{directory} compares models on {len(found.questions)} tasks, so say which cell: --cell {first[0]}, "
            f"or another (best of each task: {', '.join(first)})."
        )
    return found.questions[0] if found.questions else None


def _saved(row: CellSummary, directory: Path) -> Run:
    """Return the first confirmed run of a cell whose model was saved."""
    evaluated = {record.signature for record in row.evaluated}
    runs = sorted(
        (run for run in row.cell.runs if run.status == RunStatus.OK and (run.paths.model / DESCRIPTION).is_file()),
        key=lambda run: (run.record.signature not in evaluated, run.phase == Phase.TUNE, run.seed),
    )
    if runs and (runs[0].record.signature in evaluated or not evaluated):
        return runs[0]
    raise HarnessError(_unsaved(row, directory))


def _unsaved(row: CellSummary, directory: Path) -> str:
    """Say how to get the model of a cell: only the first confirmation is trained again."""
    first = row.evaluated[0].signature if row.evaluated else ""
    run = next((run for run in row.cell.runs if run.record.signature == first), None)
    text = f"{row.cell.id} of {directory} has no saved model (keep=none, or the folder was removed)."
    if run is None:
        return f"{text} It has no confirmed run yet: let the study end, or name another --cell."
    return (
        f"{text} Remove its first confirmation and give the study's command again with keep=best, which trains only "
        f"that run: rm -r {shlex.quote(run.directory)}"
    )
