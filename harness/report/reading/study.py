"""The only module that reads a study: its request (sweep.yaml) and the records of its runs (record.json)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.kinds import named
from harness.errors import HarnessError, nearest
from harness.records.locate import names
from harness.records.record import SCHEMA
from harness.records.signature import OPERATIONAL, digest, signature
from harness.records.states import Phase
from harness.records.study_files import DamagedFile, StudyPaths, record_of, studies_in
from harness.report.reading.archive import SUFFIX, thaw
from harness.report.reading.parquet import compact
from harness.report.reading.runs import Run, Unreadable

# Sections of a configuration that define what a run computes.
_CONTENT = ("task.", "model.", "method.", "train.")
_PHASES: dict[str, int] = {Phase.TUNE: 0, Phase.RERANK: 1, Phase.CONFIRM: 2, Phase.SINGLE: 3}


@dataclass
class Cell:
    """A combination of task, model, method and other axes, with all of its runs, whatever their status.

    Attributes:
        metric: the metric that selects.
        direction: maximize | minimize; None without a sweep.yaml: then the metric's own direction applies.
        space: the search space, by override key.
        unreadable: number of runs whose record cannot be read.
        chosen: signatures of the runs that confirm the chosen configuration; empty if choices.json has none.
        trial: number of the trial that was chosen; None if choices.json does not tell it.
    """

    id: str
    task: str
    model: str
    method: str
    variant: dict[str, Any] = field(default_factory=dict)
    metric: str = "accuracy"
    direction: str | None = None
    space: dict[str, Any] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    unreadable: int = 0
    chosen: frozenset[str] = frozenset()
    trial: int | None = None


@dataclass(frozen=True)
class Study:
    """A study's request and its results so far.

    Attributes:
        sweep: content of sweep.yaml; {} if there is none (single runs).
        warnings: what could not be read, in sentences.
    """

    name: str
    directory: Path
    sweep: dict[str, Any]
    cells: list[Cell]
    warnings: tuple[str, ...] = ()


def load(study_dir: Path) -> Study:
    """Read a study, finished or not.

    Args:
        study_dir: `runs/<study>`, or its archive.

    Raises:
        HarnessError: the study does not exist, or is still empty.
    """
    if study_dir.suffix == SUFFIX and study_dir.is_file():
        study_dir = thaw(study_dir)
    check_directory(study_dir)
    compacted = compact(study_dir)
    warnings: list[str] = []
    paths = StudyPaths(study_dir)
    sweep = _read_sweep(paths, warnings)
    warnings += compacted.warnings
    cells = {cell.id: cell for cell in _asked(sweep)}
    singles: dict[str, list[Run]] = defaultdict(list)
    for run in compacted.runs:
        if isinstance(run, Unreadable):
            directory = Path(run.directory)
            name = directory.parent.name
            warnings.append(f"Unreadable: {record_of(f'{name}/{directory.name}')} ({run.reason}).")
            cells.setdefault(name, _cell_of_directory(name)).unreadable += 1
            continue
        if run.schema > SCHEMA:
            warnings.append(
                f"{Path(run.directory).name} was written by a newer version (schema {run.schema}; this one knows "
                f"{SCHEMA}), so some of its keys may be misread. Update harness."
            )
        if run.phase == Phase.SINGLE:
            singles[run.cell].append(run)
            continue
        if run.cell not in cells:
            cells[run.cell] = _cell_of_record(run)
        cells[run.cell].runs.append(run)
    for cell_id, runs in singles.items():
        for cell in _by_configuration(cell_id, runs):
            if cell.id in cells:  # listed in sweep.yaml, or created for an unreadable record
                cell.unreadable = cells[cell.id].unreadable
                cell.runs = [*cells[cell.id].runs, *cell.runs]
            cells[cell.id] = cell
    if not cells:
        raise HarnessError(
            f"{study_dir} holds no {paths.sweep.name} and no record of a run, so there is nothing to report. Give the "
            f"directory of a study{_studies_in(study_dir)}; if it was just started, wait for its first run."
        )
    choices = _read_choices(paths, warnings)
    for found in cells.values():
        found.runs.sort(key=_order)
        choice = _mapping(choices.get(found.id))
        found.chosen = frozenset(map(str, _list(choice.get("signatures"))))
        found.trial = trial if isinstance(trial := choice.get("trial"), int) else None
    name = str(sweep.get("name") or study_dir.resolve().name)
    return Study(name, study_dir, sweep, list(cells.values()), tuple(warnings))


def _order(run: Run) -> tuple[int, int, int, str]:
    return _PHASES[run.phase], -1 if run.trial is None else run.trial, run.seed, run.directory


def check_directory(study_dir: Path) -> None:
    """Raise a `HarnessError` that names the alternatives if the directory does not exist."""
    if study_dir.is_dir():
        return
    if study_dir.exists():
        raise HarnessError(f"{study_dir} is a file; a study is a directory, e.g. runs/<study>.")
    parent = study_dir.parent
    known = names(parent)
    beside = f"Studies in {parent}: {nearest(study_dir.name, known)}" if known else f"{parent} holds no study."
    raise HarnessError(f"There is no study at {study_dir}. {beside}")


def _studies_in(directory: Path) -> str:
    """Name the studies inside a directory that was given instead of a study."""
    names = studies_in(directory)
    return f", e.g. {', '.join(str(directory / name) for name in names[:5])}" if names else ", e.g. runs/<study>"


def _read_sweep(paths: StudyPaths, warnings: list[str]) -> dict[str, Any]:
    try:
        content = paths.read_sweep() or {}
        # The cells are the last section, so a file without them was cut, and what stands before may be cut as well.
        damage = "it lists no cells" if content and "cells" not in content else None
    except DamagedFile as error:
        damage = str(error)
    if damage is not None:
        warnings.append(f"{paths.sweep.name} cannot be read ({damage}), so cells without a run are missing here.")
        return {}
    paths.keep_sweep(content)
    return content


def _read_choices(paths: StudyPaths, warnings: list[str]) -> dict[str, Any]:
    try:
        return paths.read_choices()
    except DamagedFile as error:
        warnings.append(f"{paths.choices.name} cannot be read ({error}); choices are taken from the validation scores.")
        return {}


def _asked(sweep: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield the cells listed in sweep.yaml."""
    for entry in _list(sweep.get("cells")):
        if isinstance(entry, Mapping) and "id" in entry:
            guess = _cell_of_directory(str(entry["id"]))
            direction = entry.get("direction")
            yield Cell(
                id=guess.id,
                task=str(entry.get("task", guess.task)),
                model=str(entry.get("model", guess.model)),
                method=str(entry.get("method", guess.method)),
                variant=_mapping(entry.get("variant")),
                metric=str(entry.get("metric", guess.metric)),
                direction=str(direction) if direction else None,
                space=_mapping(entry.get("space")),
            )


def _cell_of_directory(name: str) -> Cell:
    """Create a cell from its name alone, `task.model.method`, if nothing better can be read."""
    task, model, method, *_ = [*name.split("."), "", "", ""]
    return Cell(name, task, model, method)


def _cell_of_record(run: Run) -> Cell:
    record = run.record
    metric = _mapping(run_config(run).get("task")).get("metric")
    if metric is None:
        metric = next((name for split in ("val", "test") for name in record.metrics.get(split, {})), "accuracy")
    return Cell(record.cell, record.task, record.model, record.method, dict(record.variant), str(metric))


def _by_configuration(cell_id: str, runs: list[Run]) -> Iterator[Cell]:
    """Group single runs of a cell that differ only in their seed: others must not be averaged."""
    groups: dict[str, list[Run]] = defaultdict(list)
    configs: dict[str, dict[str, Any]] = {}
    for run in runs:
        config = {key: value for key, value in run_config(run).items() if key != "seed"}
        facts = run.record.data.get("fingerprint"), run.record.hyperparameters
        key = digest([signature(config, "single", "", ""), *facts])
        groups[key].append(run)
        configs[key] = flat(config)
    # Keys that distinguish the groups become part of their variant, as if they were axes.
    values: dict[str, set[str]] = defaultdict(set)
    for name in sorted({name for config in configs.values() for name in config}):
        values[name] = {digest(config.get(name)) for config in configs.values()}
    shown = [name for name in values if name == "task.path" or name not in OPERATIONAL]
    differing = [name for name in shown if len(values[name]) > 1 and name.startswith(_CONTENT)]
    for key, members in groups.items():
        cell = _cell_of_record(members[0])
        cell.variant.update({name: configs[key][name] for name in differing if name in configs[key]})
        cell.id = cell_id if len(groups) == 1 else f"{cell_id} {key[:6]}"
        cell.runs = members
        yield cell


def run_config(run: Run) -> dict[str, Any]:
    """Read a run's resolved configuration, with kinds for class paths; {} if it is missing or damaged."""
    try:
        return named(_mapping(json.loads(json.dumps(run.paths.read_config(), default=str))))
    except ValueError:
        return {}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to override keys: {"train": {"lr": 1}} -> {"train.lr": 1}."""
    items: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            items |= flat(value, f"{prefix}{key}.")
        else:
            items[f"{prefix}{key}"] = value
    return items


def _mapping(value: Any) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
