"""Archive a study in one publishable file: all that its report needs; no models, texts or paths of a machine."""

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

from harness.api.family import family_of
from harness.errors import HarnessError
from harness.records.files import atomic, dump_yaml, load_yaml
from harness.records.signature import digest, published
from harness.records.states import Phase
from harness.records.study_files import GROUP, PUBLISHED, RUNS, SCORE, TEST_OUTSIDE, RunPaths, StudyPaths

SUFFIX = ".zip"
MACHINE = ("platform", "slurm")  # provenance left out: the system's build, names of nodes and partitions
LARGEST = 2**30  # bytes, maximum extracted size: a report may read archives made by others
_PATH = re.compile(r"(?<![\w.:/])/(?:[^/\s]+/)+([^/\s]*)")  # an absolute path; group 1 is its last part
_DATE = (1980, 1, 1, 0, 0, 0)  # constant, so that the same study gives the same archive


def freeze(study_dir: Path, file: Path) -> None:
    """Write a study to one archive, from which its report can be rebuilt.

    It holds records, configurations, learning curves and the predictions for the test rows (ids, labels, predicted
    classes, probabilities only if the metric needs them). Left out are models, checkpoints, logs, code and texts, and
    everything in configurations and records that says where a run executed: paths, launcher, cluster, system.

    Raises:
        HarnessError: there is no study, the file is another one than an archive, or it cannot be written.
    """
    sweep = StudyPaths(study_dir).sweep
    if not sweep.is_file():
        raise HarnessError(f"{study_dir} holds no study (it has no {sweep.name}): give a directory runs/<study>.")
    if file.suffix != SUFFIX:
        raise HarnessError(f"--freeze {file} must end in {SUFFIX}: it is the name of the archive that is written.")
    if file.is_file() and not _is_archive(file):
        raise HarnessError(f"{file} exists, and is no archive of a study, so it is not replaced: name another file.")
    try:
        with (
            atomic(file) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        ):
            for name, content in _files(study_dir):
                archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise HarnessError(f"The archive {file} cannot be made ({error.strerror or error}).") from error


def _is_archive(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return StudyPaths(Path()).sweep.name in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def thaw(file: Path) -> Path:
    """Extract an archive to a directory that is removed when the process exits; return the study's directory.

    Raises:
        HarnessError: it is not an archive of a study.
    """
    directory = Path(tempfile.mkdtemp(prefix="harness-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    study = directory / file.name.removesuffix(SUFFIX)
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise HarnessError(f"{file} unfolds to more than {LARGEST / 2**30:.0f} GiB: that is no study.")
            archive.extractall(study)  # zipfile keeps names that point outside within the directory
    except (OSError, zipfile.BadZipFile) as error:
        raise HarnessError(
            f"{file} cannot be read as an archive of a study ({error}). One is made by "
            "`python -m harness.report runs/<study> --freeze FILE.zip`."
        ) from error
    return study


def _files(study_dir: Path) -> Iterator[tuple[str, bytes]]:
    from pyarrow import ArrowException

    paths = StudyPaths(study_dir)
    for name in PUBLISHED:
        path = study_dir / name
        if path.is_file():
            content = path.read_bytes()
            yield name, _stripped_sweep(content) if path == paths.sweep else content
    for directory in sorted(paths.runs.glob("*/*/")):
        inside = f"{RUNS}/{directory.parent.name}/{directory.name}"
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
        config = load_yaml(paths.config.read_text(encoding="utf-8"))
        yield paths.config.name, dump_yaml(_stripped(config)).encode()
    if paths.metrics.is_file():
        yield paths.metrics.name, paths.metrics.read_bytes()
    if paths.predictions.is_file() and record.get("phase") != Phase.TUNE:
        metric = config.get("task", {}).get("metric")
        yield paths.predictions.name, _slim(paths.predictions, str(metric))


def _slim(file: Path, metric: str) -> bytes:
    """Return the predictions of the test rows: no scores of other metrics, probabilities only without scores, no texts.

    Test rows of no class are among them, for the scores of detectors.

    Labels that are texts are replaced by digests, by which runs are known to have met the same rows, and groups, which
    may be names of people, by numbers.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema, own = parquet.read_schema(file), f"{SCORE}{metric}"
    known, texts = schema.names, family_of((schema.metadata or {}).get(b"family", b"").decode()).texts
    enough = own in known or metric == "accuracy"  # files of earlier versions have no scores
    columns = [
        name
        for name in known
        if name == own
        or not (name.startswith(SCORE) or (enough and name == "probabilities") or (name in texts and name != "label"))
    ]
    table = parquet.read_table(file, columns=columns, filters=[("split", "in", ["test", TEST_OUTSIDE])])
    if "label" in texts:
        hidden = pa.array([digest(label)[:16] for label in table["label"].to_pylist()])
        table = table.set_column(table.column_names.index("label"), "label", hidden)
    if GROUP in table.column_names:
        places: dict[str, int] = {}
        numbers = pa.array([str(places.setdefault(name, len(places))) for name in table[GROUP].to_pylist()])
        table = table.set_column(table.column_names.index(GROUP), GROUP, numbers)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", compression_level=19)
    return buffer.getvalue()


def _stripped_sweep(content: bytes) -> bytes:
    sweep = load_yaml(content)
    if not isinstance(sweep, dict):
        return content
    stripped = {**sweep, "cells": [_stripped_cell(cell) for cell in sweep.get("cells") or []]}
    return dump_yaml(stripped).encode()


def _stripped_cell(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    question = cell.get("question")
    if isinstance(question, dict) and isinstance(question.get("config"), dict):
        cell = {**cell, "question": {**question, "config": _stripped(question["config"])}}
    return {**cell, "config": _stripped(cell.get("config") or {})}


def _stripped(config: Mapping[str, Any]) -> dict[str, Any]:
    # The columns of the task and the search space define what was computed, so they stay, as does the metric.
    return published(config, kept=("method.space", "task.text", "task.label", "task.group"))


def _pathless(value: Any) -> Any:
    """Reduce every path in a record's value to its last part."""
    if isinstance(value, dict):
        return {key: _pathless(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_pathless(each) for each in value]
    if not isinstance(value, str):
        return value
    if value.startswith("path ") and "/" in value and " " not in value[5:]:  # source of a model
        return f"path {Path(value[5:]).name}"
    return _PATH.sub(r"\1", value)
