"""Study directories written by hand, as coordinators, runs and jobs leave them."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from harness.records.files import now, write_json
from harness.records.record import Record
from harness.records.study_files import RunPaths

LR = '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.01, "log": true}}'
RANK = '{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8]}}'


def sweep(study: Path, cells: dict[str, dict[str, str]], trials: int | None = 4, seeds: Sequence[int] = (1, 2)) -> None:
    """Write sweep.yaml: cells by name, each with its space."""
    study.mkdir(parents=True, exist_ok=True)
    content = {
        "name": study.name,
        "tune": {"trials": trials, "seconds": None},
        "confirm": {"seeds": list(seeds)},
        "cells": [
            {
                "id": cell,
                **dict(zip(("task", "model", "method"), cell.split("."), strict=True)),
                "metric": "accuracy",
                "direction": "maximize",
                "question": {"space": space},
                "config": {"tune": {"max_failures": 3}},
            }
            for cell, space in cells.items()
        ],
    }
    (study / "sweep.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    _backdate(study / "sweep.yaml", 60)  # what comes later is younger, also on a coarse clock


def run(
    study: Path,
    cell: str,
    name: str,
    status: str = "ok",
    val: float | None = None,
    error: str | None = None,
    log: str | None = None,
    **more: Any,
) -> RunPaths:
    """Write a run's record and log; a `confirm-...-seed2` is a confirmation, a `trial0003` a trial."""
    confirm = name.startswith("confirm")
    number = None if confirm or not name.startswith("trial") else int(name.removeprefix("trial"))
    task, model, method = cell.split(".")
    record = Record(
        signature=name, status=status, study=study.name, cell=cell, phase="confirm" if confirm else "tune", task=task,
        model=model, method=method, seed=int(name.rsplit("seed", 1)[1]) if confirm else 0, trial=number, error=error,
        metrics={"val": {} if val is None else {"accuracy": val}, "test": {}}, started=now(),
        ended=None if status == "running" else now(),
    )  # fmt: skip
    for key, value in more.items():
        setattr(record, key, value)
    paths = RunPaths(study / "runs" / cell / name)
    record.write(paths.record)
    if log is not None:
        paths.log.write_text(log)
    return paths


def choices(study: Path, chosen: dict[str, list[str]]) -> None:
    """Write choices.json: the signatures that confirm each cell."""
    write_json(study / "choices.json", {cell: {"trial": 0, "signatures": names} for cell, names in chosen.items()})


def job(study: Path, token: str, batches: list[list[str]], state: str = "submitted", job_id: str | None = "17") -> None:
    """Write a submission: of each task, its runs as `<cell>/<run>`."""
    short = [
        [{"directory": str(study / "runs" / name), "cell": name.split("/")[0], "phase": "tune"} for name in batch]
        for batch in batches
    ]
    write_json(
        study / "jobs" / f"{token}.json",
        {"token": token, "name": f"harness-{token}", "created": now(), "job_id": job_id, "state": state,
         "resources": {}, "batches": short},
    )  # fmt: skip
    (study / "jobs" / f"{token}.batches.json").write_text(json.dumps([[]]))


def states(study: Path, jobs: dict[str, tuple[str, str, str]]) -> None:
    """Write what the scheduler last said: (state, reason, node) by task."""
    content = {key: dict(zip(("state", "reason", "node"), said, strict=True)) for key, said in jobs.items()}
    write_json(study / "jobs" / "state.json", {"asked": now(), "jobs": content})


@contextmanager
def coordinated(study: Path) -> Iterator[None]:
    """Hold a study, as its coordinator does."""
    study.mkdir(parents=True, exist_ok=True)
    lock = FileLock(study / "study.lock")
    lock.acquire(timeout=0)
    holder = study / "holder.json"
    write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": now()})
    try:
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def squeue(place: Path, answer: str, code: int = 0) -> Path:
    """Write a scheduler's command that gives one answer; return the directory to put on the path."""
    folder = place / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / "squeue"
    stream = ">&2" if code else ""
    program.write_text(f"#!/bin/sh\necho '{answer}' {stream}\nexit {code}\n")
    program.chmod(0o755)
    return folder


def _backdate(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
