"""Compact records to Parquet, so that a report need not read the JSON of runs that ended long ago.

`runs/<study>/records.parquet/` is one Parquet data set of part files that are written once and never changed. New
records make a new part, which also absorbs the parts that are not much larger than itself, as in a log-structured merge
tree (O'Neil et al. 1996, https://doi.org/10.1007/s002360050048): n records lie in O(log n) parts, and each is written
O(log n) times. record.json stays the source of truth: a run's row is valid only while modification time and size of its
record are those noted in the row. So a rewritten record is read again, and a part that is lost or damaged costs only
time. A part is named by the SHA-256 of its content: Parquet's own checksums leave out its footer and page headers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from harness.api.cost import recorded
from harness.api.family import all_metrics
from harness.records.files import atomic
from harness.records.record import SCHEMA, Record, metric_of, number
from harness.records.signature import digest
from harness.records.states import RunStatus
from harness.records.study_files import StudyPaths
from harness.report.reading.runs import Run, Unreadable, read, scan

SCORES = tuple(f"{split}_{name}" for split in ("val", "test") for name in all_metrics())
COSTS = recorded()
_TEXTS = ("signature", "status", "study", "cell", "phase", "task", "model", "method", "started", "ended", "error")
_WHOLE = ("seed", "trial", "schema", "replicate")
_NESTED = ("variant", "hyperparameters", "metrics", "cost", "data", "provenance")
# Columns for programs; those in `_NESTED` hold everything else, as JSON.
FLAT = (*_TEXTS, *_WHOLE, *SCORES, *COSTS)
_NOTED = ("run", "modified_ns", "bytes")  # identify the record that a row was made from
COLUMNS = (*FLAT, *_NESTED, *_NOTED)
_REPEATED = ("variant", "data", "provenance")  # equal in many runs, so each value is decoded once

# Version of the format: parts of another version are rebuilt.
FORM = digest([2, SCHEMA, [f.name for f in fields(Record)], COLUMNS])
_GROWTH = 4  # parts up to this many times the size of a new part are merged into it
_PREFIX = "part-"
_PATTERN = f"{_PREFIX}*.parquet"
_DIGITS = 64  # of a SHA-256; names of earlier versions are shorter

Key = tuple[str, int, int]  # `<cell>/<run>`, the record's modification time in nanoseconds, its bytes


class _Lists(dict[str, list[Any]]):
    """Columns of a table as lists, each converted on first access; KeyError for other than the named columns."""

    def __init__(self, table: Any, names: Iterable[str]) -> None:
        super().__init__()
        self._table, self._names = table, frozenset(names)

    def __missing__(self, name: str) -> list[Any]:
        if name not in self._names:
            raise KeyError(name)
        self[name] = self._table.column(name).to_pylist()
        return self[name]


class Part:
    """A part file and its rows.

    Attributes:
        path, table: the file, and its whole content as an Arrow table.
        facts, scores, costs: columns as lists; those of scores are named `<split>_<metric>`.
        stale: indices of the rows that are outdated.
    """

    def __init__(self, path: Path, table: Any) -> None:
        self.path, self.table = path, table
        self.facts = _Lists(table, (*_NOTED, *_TEXTS, *_WHOLE))
        self.scores: dict[str, list[float | None]] = _Lists(table, SCORES)
        self.costs: dict[str, list[float | None]] = _Lists(table, COSTS)
        self.stale: set[int] = set()
        self._nested: dict[str, Any] = {}
        self._decoded: dict[str, dict[str, Any]] = {}

    def record(self, row: int) -> Record:
        """Rebuild the record of a row."""
        values: dict[str, Any] = {name: self.facts[name][row] for name in (*_TEXTS, *_WHOLE)}
        return Record(**values | {name: self._mapping(name, row) for name in _NESTED})

    def counted(self) -> Any:
        """Return the table without stale rows."""
        if not self.stale:
            return self.table
        import pyarrow as pa

        return self.table.filter(pa.array([row not in self.stale for row in range(self.table.num_rows)], pa.bool_()))

    def _mapping(self, name: str, row: int) -> dict[str, Any]:
        if name not in self._nested:  # one chunk, for fast access to a row
            self._nested[name] = self.table.column(name).combine_chunks()
        text = self._nested[name][row].as_py()
        if name not in _REPEATED:
            return cast(dict[str, Any], json.loads(text))
        if text not in self._decoded:
            self._decoded[text] = json.loads(text)
        return self._decoded[text]


@dataclass(frozen=True)
class Compacted:
    """All runs of a study.

    Attributes:
        runs: every run with a record, in order of name.
        parts, fresh: part files with their rows, and records that were read from JSON and fit into a table.
        warnings: what could not be read, in sentences.
    """

    runs: tuple[Run | Unreadable, ...]
    parts: tuple[Part, ...]
    fresh: tuple[tuple[Key, Record], ...]
    warnings: tuple[str, ...]

    def tables(self) -> list[Any]:
        """Return Arrow tables with one row per run."""
        return [*(part.counted() for part in self.parts), table_of(self.fresh)]


def compact(study_dir: Path) -> Compacted:
    """Read every run of a study, and compact those that have ended since the last call.

    Several processes may do so at once. If the study cannot be written, nothing is compacted, but everything is read.
    """
    paths = StudyPaths(study_dir)
    folder, root = paths.compacted, str(paths.runs)
    found = scan(paths.runs)
    files = _files(folder)
    parts, warnings = _read_parts(files)
    runs = _known(parts, found, root)
    fresh: list[tuple[Key, Record]] = []
    for name, stamp in found.items():
        if name in runs:
            continue
        run = read(f"{root}/{name}")
        if run is not None:
            runs[name] = run
        if isinstance(run, Run) and stamp is not None and _fits(name, run.record):
            fresh.append(((name, *stamp), run.record))
    ended = [pair for pair in fresh if pair[1].status != RunStatus.RUNNING]
    if ended or len(parts) < len(files) or any(part.stale for part in parts):
        with _writing(folder) as ours:
            # If the files differ, another process has compacted meanwhile, with the same knowledge as this one.
            if ours and _files(folder) == files:
                _write(folder, files, parts, ended)
    known = tuple(runs[name] for name in found if name in runs)
    return Compacted(known, tuple(parts), tuple(fresh), tuple(warnings))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(_PATTERN))


def _read_parts(files: Sequence[Path]) -> tuple[list[Part], list[str]]:
    """Read the usable parts, largest first."""
    parts: list[Part] = []
    warnings: list[str] = []
    if not files:
        return parts, warnings
    import pyarrow as pa
    from pyarrow import parquet

    for path in files:
        noted = path.stem.removeprefix(_PREFIX)
        if len(noted) != _DIGITS:
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # merged by another process meanwhile
            continue
        except OSError as error:
            reason = error.strerror
        else:
            if hashlib.sha256(content).hexdigest() == noted:
                with parquet.ParquetFile(pa.BufferReader(content), read_dictionary=[*_REPEATED]) as file:
                    if (file.schema_arrow.metadata or {}).get(b"form") == FORM.encode():
                        parts.append(Part(path, file.read()))
                continue
            reason = "its content differs from the SHA-256 in its name"
        warnings.append(
            f"{path.parent.name}/{path.name} is damaged ({reason}), so its runs are read from their record.json."
        )
    parts.sort(key=lambda part: -part.table.num_rows)
    return parts, warnings


def _known(parts: Iterable[Part], found: dict[str, tuple[int, int] | None], root: str) -> dict[str, Run | Unreadable]:
    """Return the runs whose row matches their present record, and mark all other rows as stale."""
    runs: dict[str, Run | Unreadable] = {}
    for part in parts:
        names, *noted = (part.facts[name] for name in _NOTED)
        facts = (part.facts[name] for name in ("cell", "phase", "status", "seed", "trial", "schema"))
        for row, (name, stamp, *values) in enumerate(zip(names, zip(*noted, strict=True), *facts, strict=True)):
            if name in runs or found.get(name) != stamp:
                part.stale.add(row)
            else:
                runs[name] = Run(f"{root}/{name}", *values, part, row)  # type: ignore[call-arg]
    return runs


def _fits(name: str, record: Record) -> bool:
    """Return whether a record fits into a table: Parquet has no lone surrogates and no integers beyond 64 bits."""
    texts = [name, *(getattr(record, text) or "" for text in _TEXTS)]
    numbers = (record.seed, record.trial or 0, record.schema, record.replicate)
    with suppress(UnicodeEncodeError):
        return all(text.encode() is not None for text in texts) and all(
            type(value) is int and abs(value) < 2**63 for value in numbers
        )
    return False


@contextmanager
def _writing(folder: Path) -> Iterator[bool]:
    """Lock the parts; yield whether they may be written."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(exist_ok=True)
        lock.acquire()
    except (Timeout, OSError, NotImplementedError):  # another process is writing, or locking is impossible
        yield False
        return
    try:
        # A full disk costs the compacted copy only.
        with suppress(OSError):
            yield True
    finally:
        lock.release()


def _write(folder: Path, files: Sequence[Path], parts: Sequence[Part], ended: Sequence[tuple[Key, Record]]) -> None:
    """Write a new part from ended runs, from parts with stale rows, and from parts that are not much larger."""
    import pyarrow as pa
    from pyarrow import parquet

    for leftover in folder.glob(f".{_PATTERN}.*.tmp"):
        leftover.unlink(missing_ok=True)
    tables = [table_of(ended), *(part.counted() for part in parts if part.stale)]
    rows = sum(table.num_rows for table in tables)
    kept = [part for part in parts if not part.stale]
    while kept and kept[-1].table.num_rows <= _GROWTH * rows:  # the smallest is last
        tables.append(kept.pop().table)
        rows += tables[-1].num_rows
    if rows:
        merged = pa.concat_tables([table.cast(schema()) for table in tables])
        sink = pa.BufferOutputStream()
        parquet.write_table(merged.replace_schema_metadata({"form": FORM}), sink, compression="zstd")
        content = sink.getvalue().to_pybytes()
        with atomic(folder / f"{_PREFIX}{hashlib.sha256(content).hexdigest()}.parquet") as temporary:
            temporary.write_bytes(content)
    # A crash here leaves rows twice; the next report treats those of the smaller part as stale.
    for path in set(files) - {part.path for part in kept}:
        path.unlink(missing_ok=True)


def table_of(records: Sequence[tuple[Key, Record]]) -> Any:
    """Make an Arrow table, one row per record: `FLAT` columns, nested values as JSON, and the record's file stamp."""
    if not records:
        return schema().empty_table()
    import pyarrow as pa
    from pyarrow import json as arrow_json

    # Arrow's own reader of JSON lines, because pa.array() would import pandas, which takes longer than everything else.
    lines = "\n".join(json.dumps(_row(key, record)) for key, record in records).encode()
    reading, parsing = arrow_json.ReadOptions(block_size=len(lines) + 1), arrow_json.ParseOptions(schema())
    return arrow_json.read_json(pa.BufferReader(lines), reading, parsing).select(COLUMNS)


def _row(key: Key, record: Record) -> dict[str, Any]:
    scores = {f"{split}_{name}": metric_of(record, split, name) for split in ("val", "test") for name in all_metrics()}
    return {
        **{name: getattr(record, name) for name in (*_TEXTS, *_WHOLE)},
        **scores,
        **{name: number(record.cost.get(name)) for name in COSTS},
        **{name: json.dumps(getattr(record, name)) for name in _NESTED},
        **dict(zip(_NOTED, key, strict=True)),
    }


def schema(columns: Iterable[str] = COLUMNS) -> Any:
    """Return the Arrow schema of columns."""
    import pyarrow as pa

    types = dict.fromkeys((*_WHOLE, *_NOTED[1:]), pa.int64()) | dict.fromkeys((*SCORES, *COSTS), pa.float64())
    return pa.schema([(name, types.get(name, pa.string())) for name in columns])
