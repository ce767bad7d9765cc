"""A study in one file that can be published: what its report needs; no models, no texts, no paths of a machine."""

from __future__ import annotations

import atexit
import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.records.files import atomic
from harness.records.run_spec import RunPaths
from harness.records.signature import published

SUFFIX = ".zip"
# Of a study's own files; of a run those that `_run_files` gives.
STUDY_FILES = ("sweep.yaml", "choices.json", "importances.json", "plan.json", "outcome.json")
MACHINE = ("platform", "slurm")  # of a record's provenance: the build of the system, names of nodes and partitions
LARGEST = 2**30  # bytes that an archive may unfold to: a report reads files that others made
_PATH = re.compile(r"(?<![\w.:/])/(?:[^/\s]+/)+([^/\s]*)")  # an absolute path, and its last part
_DATE = (1980, 1, 1, 0, 0, 0)  # the same study gives the same archive


def freeze(study_dir: Path, file: Path) -> None:
    """Write a study to one archive, from which its report can be made anew.

    It holds records, configurations, learning curves and the predictions for the test rows (ids, labels, predicted
    classes, probabilities only where the metric needs them). Left out are models, checkpoints, logs, code, texts, and
    from configurations and records what says where a run executed: paths, launcher, cluster, system.

    Raises:
        HarnessError: there is no study, or the archive cannot be written.
    """
    if not (study_dir / "sweep.yaml").is_file():
        raise HarnessError(f"{study_dir} holds no study (it has no sweep.yaml): give a directory runs/<study>.")
    try:
        with (
            atomic(file) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        ):
            for name, content in _files(study_dir):
                archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise HarnessError(f"The archive {file} cannot be made ({error.strerror or error}).") from error


def thaw(file: Path) -> Path:
    """Unfold an archive into a directory that lasts as long as the process; give the study's directory.

    Raises:
        HarnessError: it is no archive of a study.
    """
    directory = Path(tempfile.mkdtemp(prefix="harness-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    study = directory / file.name.removesuffix(SUFFIX)
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise HarnessError(f"{file} unfolds to more than {LARGEST / 2**30:.0f} GiB: that is no study.")
            archive.extractall(study)  # names that lead outside are kept inside
    except (OSError, zipfile.BadZipFile) as error:
        raise HarnessError(
            f"{file} cannot be read as an archive of a study ({error}). One is made by "
            "`python -m harness.report runs/<study> --freeze FILE.zip`."
        ) from error
    return study


def _files(study_dir: Path) -> Iterator[tuple[str, bytes]]:
    from pyarrow import ArrowException

    for name in STUDY_FILES:
        path = study_dir / name
        if path.is_file():
            content = path.read_bytes()
            yield name, _stripped_sweep(content) if name == "sweep.yaml" else content
    for directory in sorted((study_dir / "runs").glob("*/*/")):
        inside = f"runs/{directory.parent.name}/{directory.name}"
        try:
            yield from ((f"{inside}/{name}", content) for name, content in _run_files(RunPaths(directory)))
        except (ValueError, AttributeError, yaml.YAMLError, ArrowException) as error:
            raise HarnessError(
                f"{directory} holds a damaged file ({str(error).splitlines()[0]}), so the study cannot be "
                "frozen whole: mend or remove that run."
            ) from error


def _run_files(paths: RunPaths) -> Iterator[tuple[str, bytes]]:
    record: dict[str, Any] = {}
    if paths.record.is_file():
        record = json.loads(paths.record.read_bytes())
        kept = {key: value for key, value in record.get("provenance", {}).items() if key not in MACHINE}
        shown = {key: _pathless(record[key]) for key in ("error", "data") if key in record}
        content = record | shown | {"provenance": _pathless(kept)}
        yield paths.record.name, json.dumps(content, ensure_ascii=False).encode()
    config: dict[str, Any] = {}
    if paths.config.is_file():
        config = yaml.safe_load(paths.config.read_text(encoding="utf-8"))
        yield paths.config.name, _dump(_stripped(config))
    if paths.metrics.is_file():
        yield paths.metrics.name, paths.metrics.read_bytes()
    if paths.predictions.is_file() and record.get("phase") != "tune":
        metric = config.get("task", {}).get("metric")
        yield paths.predictions.name, _slim(paths.predictions, metric == "accuracy")


def _slim(file: Path, plain: bool) -> bytes:
    """Give the predictions for the test rows alone; without probabilities where classes are enough."""
    from pyarrow import parquet

    columns = ["split", "id", "label", "prediction"] + ([] if plain else ["probabilities"])
    table = parquet.read_table(file, columns=columns, filters=[("split", "==", "test")])
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", compression_level=19)
    return buffer.getvalue()


def _stripped_sweep(content: bytes) -> bytes:
    sweep = yaml.safe_load(content)
    if not isinstance(sweep, dict):
        return content
    return _dump({**sweep, "cells": [_stripped_cell(cell) for cell in sweep.get("cells") or []]})


def _stripped_cell(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    question = cell.get("question")
    if isinstance(question, dict) and isinstance(question.get("config"), dict):
        cell = {**cell, "question": {**question, "config": _stripped(question["config"])}}
    return {**cell, "config": _stripped(cell.get("config") or {})}


def _stripped(config: Mapping[str, Any]) -> dict[str, Any]:
    # Which texts and labels were read says what was computed; the metric and the search space belong to it, too.
    return published(config, kept=("method.space", "task.text", "task.label"))


def _pathless(value: Any) -> Any:
    """A record's value with nothing but the last part of every path."""
    if isinstance(value, dict):
        return {key: _pathless(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_pathless(each) for each in value]
    if not isinstance(value, str):
        return value
    if value.startswith("path ") and "/" in value and " " not in value[5:]:  # where a model was found
        return f"path {Path(value[5:]).name}"
    return _PATH.sub(r"\1", value)


def _dump(content: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True).encode()
