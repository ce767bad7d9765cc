"""The identity of a study, its file sweep.yaml, and the check that a command matches an existing study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import __version__
from harness.config.kinds import named, signed
from harness.config.schema import ConfirmConfig, ReportConfig, TuneConfig
from harness.design.prepared_cell import PreparedCell
from harness.design.search_space import describe
from harness.errors import HarnessError, Problems
from harness.records.files import now
from harness.records.signature import OPERATIONAL, digest, ignored_keys, joint_group_key, without
from harness.records.study_files import DamagedFile, StudyPaths

PRUNING = ("resource", "min_resource", "reduction_factor", "patience")  # decide which trials are promoted


def cell_identity(ready: PreparedCell) -> dict[str, Any]:
    """Return the identity of a cell as written to sweep.yaml, without budget, seeds and launcher: they may change."""
    unasked = (*OPERATIONAL, *ready.cell.space, *ignored_keys(ready.base))
    return {
        "metric": ready.cell.metric,
        "space": describe(ready.cell.space),
        "data": ready.fingerprint,
        "model": ready.model_digest,
        "config": without(named(ready.base), unasked),
    }


def identity(ready: PreparedCell) -> dict[str, Any]:
    """Return the identity of a cell in the form that is hashed."""
    asked = cell_identity(ready)
    return {**asked, "config": signed(asked["config"])}


def search_identity(tune: TuneConfig) -> dict[str, Any]:
    """Return the identity of the search, which all cells of a study share."""
    more = {
        "mode": tune.mode if tune.mode != "fair" else None,
        "warm_start": [Path(each).name for each in tune.warm_start],
        "objectives": list(tune.objectives),
        "trial_seeds": tune.trial_seeds if tune.trial_seeds != TuneConfig.trial_seeds else None,
        "constraints": tune.constraints.given,
        "pruning": {name: getattr(tune, name) for name in PRUNING if getattr(tune, name) != getattr(TuneConfig, name)}
        if tune.pruner != "none"
        else {},
    }
    return {
        "sampler": tune.sampler,
        "pruner": tune.pruner,
        "seed": tune.seed,
        **{key: value for key, value in more.items() if value},
    }


def default_name(prefix: str, cells: Iterable[PreparedCell], tune: TuneConfig) -> str:
    """Return the default name of a study: the sweep's name and a short hash of the study's identity."""
    content = {"cells": {ready.cell.id: identity(ready) for ready in cells}, "tune": search_identity(tune)}
    return f"{prefix}-{digest(content)[:6]}"


def check_same(directory: Path, cells: Sequence[PreparedCell], tune: TuneConfig) -> None:
    """Refuse to continue a study with another identity.

    Raises:
        HarnessError: the identity differs; says where.
    """
    asked = read(directory)
    if asked is None:
        return
    known = {cell["id"]: cell.get("question", {}) for cell in asked["cells"]}
    problems = Problems()
    before, now_ = asked.get("search") or search_identity(tune), search_identity(tune)
    differing: list[str] = [
        f"tune.{key} was {before.get(key, 'not set')}, is {now_.get(key, 'not set')}"
        for key in {**before, **now_}
        if before.get(key) != now_.get(key)
    ]
    if tune.mode == "joint" and (other := _other_methods(asked, cells)):
        differing.append(f"the methods, which are part of what a joint study searches: {', '.join(other)}")
    for ready in cells:
        if ready.cell.id not in known:
            continue  # a new cell extends the study
        old, new = dict(_flat(_in_kinds(known[ready.cell.id]))), dict(_flat(cell_identity(ready)))
        for key in sorted({*old, *new}):
            if old.get(key) == new.get(key):
                continue
            if key == "data":
                differing.append(f"{ready.cell.id}: the data set (its rows, labels or splits changed)")
            elif key == "model":
                differing.append(f"{ready.cell.id}: the pretrained weights")
            else:
                differing.append(f"{ready.cell.id}: {key} was {old.get(key)}, is {new.get(key)}")
    if differing:
        shown = differing[:12] + ([f"and {len(differing) - 12} more"] if len(differing) > 12 else [])
        problems.add(
            f"The study {directory.name} was started with another configuration. Differences:\n  "
            + "\n  ".join(shown)
            + "\nName another study (study=<name>), or leave study= out: then this configuration gets its own name."
        )
    problems.raise_any()


def _in_kinds(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a stored identity, in which an earlier version may have written class paths, to kinds."""
    return {**asked, "config": named(asked.get("config") or {})}


def _other_methods(asked: Mapping[str, Any], cells: Sequence[PreparedCell]) -> list[str]:
    """Return the cells that only the study or only the command has, of joint groups that both have."""
    old = {cell["id"]: joint_group_key(cell["task"], cell["model"], cell["variant"]) for cell in asked["cells"]}
    new = {r.cell.id: joint_group_key(r.cell.task, r.cell.model, r.cell.variant) for r in cells}
    both = {*old.values()} & {*new.values()}
    return sorted(cell for cell in {*old} ^ {*new} if (old.get(cell) or new[cell]) in both)


def planned_looks(directory: Path, planned: list[int]) -> list[int]:
    """Return the looks of a study: those that it began with, if there were any.

    Raises:
        HarnessError: other looks are requested; looks that were taken have spent their share of the error rate.
    """
    before = ((read(directory) or {}).get("confirm") or {}).get("looks") or []
    if before and planned and list(before) != planned:
        raise HarnessError(
            f"The study {directory.name} looks at its verdicts at {before} seeds a cell; now {planned} are asked for. "
            "Looks that were taken have spent their share of the error rate: keep confirm.seeds and confirm.max_seeds "
            "as they were, or name another study (study=<name>)."
        )
    return planned or list(before)


def write(
    directory: Path,
    cells: Iterable[PreparedCell],
    tune: TuneConfig,
    seeds: tuple[int, ...],
    confirm: ConfirmConfig,
    startup: int,
    hardware: Mapping[str, Any] | None,
    planned_looks: Sequence[int],
    report: ReportConfig,
    warm: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Write sweep.yaml: the requested study, merged with the cells and seeds of an existing one.

    Args:
        directory: of the study.
        cells, tune, seeds: the requested study; the seeds are those of all replicates.
        confirm: what the replicates differ in.
        startup: see `startup_trials`.
        hardware: see `harness.planning.capacity.described`; None keeps what the study had.
        planned_looks: seeds per cell at which verdicts are computed; see `planned_looks`.
        report: how verdicts are computed.
        warm: the configurations of earlier studies that each cell begins with, by cell.
    """
    asked, cells = read(directory) or {}, list(cells)
    entries = {cell["id"]: cell for cell in asked.get("cells", [])}
    for ready in cells:
        cell = ready.cell
        entries[cell.id] = {
            "id": cell.id,
            "task": cell.task,
            "model": cell.model,
            "method": cell.method,
            "variant": cell.variant,
            "metric": cell.metric,
            "direction": "maximize" if cell.maximize else "minimize",
            "space": {key: entry.described for key, entry in cell.space.items()},
            "question": cell_identity(ready),
            "config": ready.base,
        }
        if starts := warm.get(cell.id):
            entries[cell.id]["warm_start"] = [dict(start) for start in starts]
    content = {
        "name": directory.name,
        "harness": __version__,
        "created": asked.get("created") or now(),
        "search": search_identity(tune),
        "tune": {**search_identity(tune), "trials": tune.trials, "seconds": tune.seconds, "startup_trials": startup}
        | ({"finalists": tune.finalists} if tune.mode == "joint" else {})
        | ({"select": tune.select} if tune.select != TuneConfig.select else {}),
        "confirm": {
            "seeds": sorted({*asked.get("confirm", {}).get("seeds", []), *seeds}),
            "looks": list(planned_looks) or None,
        }
        | ({"vary": list(confirm.vary), "replicates": len(confirm.labels)} if len(confirm.labels) > 1 else {}),
        "report": asdict(report),
        "hardware": dict(hardware) if hardware is not None else asked.get("hardware"),
        "numerics": {key: value for cell in cells for key, value in cell.numerics.items()},
        "cells": list(entries.values()),
    }
    StudyPaths(directory).write_sweep(content)


def read(directory: Path) -> dict[str, Any] | None:
    """Read sweep.yaml; None if the directory holds no study.

    Raises:
        HarnessError: the file exists but cannot be read.
    """
    paths = StudyPaths(directory)
    try:
        content = paths.read_sweep()
    except DamagedFile as error:
        raise _damaged(paths, str(error)) from error
    if content is not None and "cells" not in content:
        raise _damaged(paths, "it lists no cells")
    return content if content is not None and content["cells"] is not None else None


def _damaged(paths: StudyPaths, reason: str) -> HarnessError:
    return HarnessError(
        f"{paths.sweep} cannot be read ({reason}). Correct or remove it; the records of the runs are untouched."
    )


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, "" if path == "config" else f"{path}.")
        else:
            yield path, value
