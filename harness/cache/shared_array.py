"""Arrays on disk with a variable-length block per row, computed once, jointly by all processes that need them.

An array is an ordinary .npy file with a JSON description beside it. While it is computed, processes divide its parts
by operating-system locks, so the parts of a process that dies are computed by the others.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.cache.disk_cache import use
from harness.errors import HarnessError
from harness.records.files import atomic, write_json

Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # the file system has no locks
SECONDS = struct.Struct("d")


@dataclass(frozen=True)
class ArrayJob:
    """Specification of an array to be computed in parts.

    Attributes:
        offsets: (n + 1,) int64; row i is the block `[offsets[i], offsets[i + 1])` of the array.
        width: number of values in a line of a block.
        parts: row indices of each part; together they contain each row once.
        compute: returns the blocks of a part, concatenated: (lines, width).
    """

    offsets: Rows
    width: int
    parts: Sequence[Rows]
    compute: Callable[[Rows], Values]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the array."""
        return int(self.offsets[-1]), self.width

    @property
    def bytes(self) -> int:
        """Size of the array in bytes."""
        return 4 * self.shape[0] * self.shape[1]

    def blocks(self, rows: Rows) -> list[tuple[int, Values]]:
        """Compute a part; return the first line of each block in the array, and the block."""
        values = np.ascontiguousarray(self.compute(rows), dtype=np.float32)
        if not np.isfinite(values).all():
            raise HarnessError("The frozen backbone gives numbers that are not finite: try train.precision=fp32.")
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        ends = np.cumsum(lengths)
        return [
            (int(self.offsets[row]), values[end - length : end])
            for row, end, length in zip(rows, ends, lengths, strict=True)
        ]


@dataclass(frozen=True)
class SharedArray:
    """A computed array.

    Attributes:
        values: float32, of shape `ArrayJob.shape`.
        seconds: computation time, summed over all processes that took part.
    """

    values: Values
    seconds: float


def in_memory(work: ArrayJob) -> SharedArray:
    """Compute the array in memory, for this process only."""
    start = time.perf_counter()
    values = np.empty(work.shape, dtype=np.float32)
    for rows in work.parts:
        for first, block in work.blocks(rows):
            values[first : first + len(block)] = block
    return SharedArray(values, time.perf_counter() - start)


def on_disk(path: Path, work: ArrayJob) -> SharedArray:
    """Map the array; compute it first if it is missing or damaged.

    Args:
        path: path of the .npy file, which must be unique to the work.
        work: specification of the array.

    Raises:
        OSError: the file cannot be written.
        HarnessError: a value is not finite.
    """
    while (found := read(path, work.shape)) is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _ArrayBuilder(path, work).build()
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            made = in_memory(work)
            with atomic(path) as temporary, temporary.open("wb") as file:
                np.save(file, made.values)
            _note(path, made.values, made.seconds)
    return found


def read(path: Path, shape: tuple[int, int]) -> SharedArray | None:
    """Map a complete array; None if it is missing or damaged."""
    note = path.with_suffix(".json")
    try:
        entry: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        values = np.load(path, mmap_mode="r")
        if values.shape != shape or zlib.crc32(values.data) != entry["crc32"]:
            return None
        seconds = float(entry["seconds"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    use(note)
    return SharedArray(values, seconds)


def _note(path: Path, values: Values, seconds: float) -> None:
    # Written last, so that an array with a description is complete.
    write_json(path.with_suffix(".json"), {"seconds": seconds, "crc32": zlib.crc32(values.data)})


class _ArrayBuilder:
    """Computes an array file jointly with other processes.

    A progress file beside it holds the seconds that each part took, 0 while it is not done. Locks on bytes of the
    progress file coordinate the processes: byte 0 is locked by every participant (shared), byte 1 + i by the process
    that computes part i, and the byte after all parts by the process that finishes the file.
    """

    def __init__(self, path: Path, work: ArrayJob) -> None:
        self.path, self.work = path, work
        # The batch size, which the user sets, determines the parts, so it is part of the file name.
        stem = path.with_suffix(f".building{len(work.parts[0])}")
        self.progress, self.array = stem, stem.with_name(f"{stem.name}.npy")
        header = io.BytesIO()
        content = {"descr": "<f4", "fortran_order": False, "shape": work.shape}
        np.lib.format.write_array_header_1_0(header, content)
        self.header = header.getvalue()

    def build(self) -> None:
        """Participate until the file is finished; return at once if another process has just finished it."""
        self.file = os.open(self.progress, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # The only participant starts from scratch: files that others left may not have reached the disk completely.
            alone = self._lock(0, fcntl.LOCK_EX, wait=False)
            if not alone:
                self._lock(0, fcntl.LOCK_SH)
            if not self._stands():
                return
            if alone:
                self._lay_out()
                self._lock(0, fcntl.LOCK_SH)
            elif not self._laid_out():  # the participant that laid out the file has died
                return
            with suppress(FileNotFoundError):  # another process has finished it meanwhile
                self._compute(wait=False)
                self._compute(wait=True)
            self._lock(1 + len(self.work.parts), fcntl.LOCK_EX)
            # If the array is gone, a process died while it finished; then a single participant must start from scratch.
            if self._stands() and self.array.exists():
                self._finish()
        finally:
            os.close(self.file)  # releases all locks

    def _lock(self, byte: int, kind: int, wait: bool = True) -> bool:
        try:
            fcntl.lockf(self.file, kind if wait else kind | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _stands(self) -> bool:
        """Return whether the locked file is still the one at its path."""
        try:
            return os.path.samestat(self.progress.stat(), os.fstat(self.file))
        except FileNotFoundError:
            return False

    def _lay_out(self) -> None:
        os.ftruncate(self.file, 0)
        with self.array.open("wb") as file:
            file.write(self.header)
            file.truncate(len(self.header) + self.work.bytes)
        # Last, so that a progress file of this length implies that the array is laid out.
        os.ftruncate(self.file, SECONDS.size * len(self.work.parts))

    def _laid_out(self) -> bool:
        return os.fstat(self.file).st_size == SECONDS.size * len(self.work.parts)

    def _seconds(self, part: int) -> float:
        seconds: float = SECONDS.unpack(os.pread(self.file, SECONDS.size, SECONDS.size * part))[0]
        return seconds

    def _compute(self, wait: bool) -> None:
        """Compute the parts that no process works on; with `wait`, also those whose process died."""
        with self.array.open("r+b") as array:
            for part, rows in enumerate(self.work.parts):
                if self._seconds(part) or not self._lock(1 + part, fcntl.LOCK_EX, wait):
                    continue
                if not self._seconds(part):
                    start = time.perf_counter()
                    for first, block in self.work.blocks(rows):
                        array.seek(len(self.header) + 4 * first * self.work.width)
                        array.write(block.data)
                    array.flush()
                    spent = time.perf_counter() - start
                    os.pwrite(self.file, SECONDS.pack(spent), SECONDS.size * part)
                fcntl.lockf(self.file, fcntl.LOCK_UN, 1, 1 + part)

    def _finish(self) -> None:
        seconds = sum(self._seconds(part) for part in range(len(self.work.parts)))
        self.array.replace(self.path)
        _note(self.path, np.load(self.path, mmap_mode="r"), seconds)
        self.progress.unlink()
