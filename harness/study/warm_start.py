"""`tune.warm_start=[runs/<study>, ...]`: the best configurations of earlier studies are tried first, after the default.

Configurations that did well on one task are good starting points on another (Feurer et al. 2015, "Initializing Bayesian
Hyperparameter Optimization via Meta-Learning", AAAI). They are only tried first; the search space stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.config.schema import Config
from harness.design import study_file
from harness.design.cells import Cell
from harness.design.prepared_cell import PreparedCell
from harness.design.tunable_keys import operational
from harness.design.value_checks import Checks
from harness.errors import HarnessError, Problems
from harness.records.cell_facts import Recorded, best_trial, minimizes
from harness.records.locate import find
from harness.records.record import Record
from harness.records.run_records import RunRecords
from harness.records.study_files import StudyPaths
from harness.search.joint import groups

_OF_COMMANDS = " Give a name, a path, or another --runs-dir."  # how `find` ends, for commands that have the option
SHARE = 0.5  # share of a cell's trials that earlier studies may fill, so that the search can move away from them


@dataclass(frozen=True)
class Start:
    """A configuration that a cell begins with.

    Attributes:
        study, cell, trial: where it was the best.
        metric, value: its validation metric there.
        values: the values of the tuned keys.
        encoded: their sampled form in the cell's space.
    """

    study: str
    cell: str
    trial: int | None
    metric: str
    value: float
    values: Mapping[str, Any]
    encoded: dict[str, Any]

    @property
    def described(self) -> dict[str, Any]:
        """The entry in sweep.yaml."""
        return {
            "study": self.study, "cell": self.cell, "trial": self.trial, "metric": self.metric, "val": self.value,
            "hyperparameters": dict(self.values),
        }  # fmt: skip

    def __str__(self) -> str:
        return f"the best of {self.cell} in {self.study} (trial {self.trial}, val {self.metric} {self.value:.4f})"


@dataclass(frozen=True)
class _Best:
    study: str
    metric: str
    record: Record
    config: Mapping[str, Any]  # of its cell


def warm_starts(
    ready: Sequence[PreparedCell], config: Config, directory: Path
) -> tuple[dict[str, list[Start]], list[str]]:
    """Choose the configurations that each cell begins with, from the records of earlier studies.

    Those of the same model come first, then those of the same task, then the order of the studies decides.

    Args:
        ready: the cells.
        config: names the studies, as directories or as names in `runs_dir`.
        directory: of this study; cells that were begun keep the configurations that they began with.

    Returns:
        The first trials by cell; and sentences on configurations that were found and cannot be used.

    Raises:
        HarnessError: a study does not exist, or has no usable trial.
    """
    if not config.tune.warm_start:
        return {}, []
    known_starts = {
        cell["id"]: cell.get("warm_start") or [] for cell in (study_file.read(directory) or {"cells": []})["cells"]
    }
    # A study that continues does not need the earlier studies anymore.
    candidates = _candidates(config) if any(prepared.cell.id not in known_starts for prepared in ready) else []
    starts_by_cell: dict[str, list[Start]] = {}
    unused: list[str] = []
    trials = config.tune.trials
    sharing = {cell.id: len(group) for group in groups([prepared.cell for prepared in ready]) for cell in group}
    for prepared in ready:
        cell = prepared.cell
        possible_cells = (
            sharing[cell.id] if config.tune.mode == "joint" else 1
        )  # number of cells that share tune.trials
        most = max(1, int(SHARE * trials) // possible_cells) if trials is not None else len(candidates)
        if cell.id in known_starts:
            starts_by_cell[cell.id] = [_again(cell, start, directory) for start in known_starts[cell.id]]
            continue
        starts: list[Start] = []
        for candidate in sorted(candidates, key=lambda b, c=cell: (b.record.model != c.model, b.record.task != c.task)):  # type: ignore[misc] # mypy infers no type for a default
            if candidate.record.method != cell.method or len(starts) >= most:
                continue
            try:
                values, encoded = _fit(cell, candidate)
            except HarnessError as reason:
                unused.append(
                    f"{cell.id} does not begin with the best of {candidate.record.cell} in {candidate.study}: {reason}"
                )
                continue
            if encoded != cell.defaults() and encoded not in [start.encoded for start in starts]:
                value = float(candidate.record.metrics["val"][candidate.metric] or 0.0)
                starts.append(
                    Start(
                        candidate.study,
                        candidate.record.cell,
                        candidate.record.trial,
                        candidate.metric,
                        value,
                        values,
                        encoded,
                    )
                )
        if starts:
            starts_by_cell[cell.id] = starts
        elif not any(candidate.record.method == cell.method for candidate in candidates):
            named = ", ".join(config.tune.warm_start)
            unused.append(f"{cell.id} begins with nothing of {named}: no trial of method={cell.method} there.")
    return starts_by_cell, unused


def _candidates(config: Config) -> list[_Best]:
    """Return the best trials of all studies that `tune.warm_start` names.

    Raises:
        HarnessError: a study does not exist, is named twice, or has no usable trial.
    """
    problems = Problems()
    candidates: list[_Best] = []
    known: dict[Path, str] = {}
    for name in config.tune.warm_start:
        try:
            place = find(name, Path(config.runs_dir))
        except HarnessError as error:
            for problem in error.problems:
                told = problem.replace(f"There is no study {name!r}", f"there is no study {name}")
                problems.add(f"tune.warm_start: {told.removesuffix(_OF_COMMANDS)}")
            continue
        if (earlier := known.setdefault(place.resolve(), name)) != name:
            problems.add(f"tune.warm_start: {earlier} and {name} are one study. Name it once.")
            continue
        candidates += _best_of(place, name, problems)
    problems.raise_any()
    return candidates


def _again(cell: Cell, start: Mapping[str, Any], directory: Path) -> Start:
    values = start["hyperparameters"]
    try:
        encoded = cell.encode(values)
    except (ValueError, TypeError) as error:
        raise HarnessError(
            f"{StudyPaths(directory).sweep}: warm_start of {cell.id}: {dict(values)} lies outside the search space "
            f"({error}). Correct it, or name another study (study=<name>)."
        ) from error
    return Start(start["study"], start["cell"], start["trial"], start["metric"], start["val"], values, encoded)


def _best_of(directory: Path, name: str, problems: Problems) -> Iterable[_Best]:
    """Return the best trial of each cell of a study."""
    study = study_file.read(directory)
    if study is None and StudyPaths(directory).runs.is_dir():
        problems.add(
            f"tune.warm_start: {name} has no {StudyPaths(directory).sweep.name}, which says what its runs were judged "
            "by: name another study."
        )
        return []
    study = study or {"cells": []}
    asked = {cell["id"]: cell for cell in study["cells"]}
    limits = (study.get("tune") or {}).get("constraints") or {}
    by_cell: dict[str, list[Recorded]] = {}
    for record in RunRecords(StudyPaths(directory).runs, lambda _: None, keep=True).all():
        by_cell.setdefault(record.cell, []).append(Recorded(record))
    found = []
    for cell, runs in by_cell.items():
        entry = asked.get(cell) or {}
        metric = str(entry.get("metric") or "")
        if (best := best_trial(runs, metric, minimizes(metric, entry.get("direction")), limits)) is not None:
            found.append(_Best(directory.name, metric, best.record, entry.get("config") or {}))
    problems.check(bool(found), f"tune.warm_start: {name} holds no tuning run that ended well.")
    return found


def _fit(cell: Cell, best: _Best) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit an earlier configuration into a cell's space. Return its values and their sampled form.

    Raises:
        HarnessError: the space excludes the configuration.
    """
    earlier = best.record.hyperparameters
    for key, value in earlier.items():
        if key not in cell.space and not operational(key) and OmegaConf.select(cell.config, key) != value:
            raise HarnessError(f"there {key} was {value}, here it is {OmegaConf.select(cell.config, key)}, not tuned.")
    values = {}
    for key in cell.space:
        old = earlier[key] if key in earlier else OmegaConf.select(OmegaConf.create(dict(best.config)), key)
        if old is not None:
            values[key] = old
    try:
        encoded = cell.encode(values)
    except (ValueError, TypeError) as error:
        raise HarnessError(f"its values lie outside this search space ({error}).") from error
    if wrong := Checks().of_values(cell, {key: value for key, value in values.items() if key.startswith("train.")}):
        raise HarnessError(*wrong)
    return {key: values.get(key, OmegaConf.select(cell.config, key)) for key in encoded}, encoded
