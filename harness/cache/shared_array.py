"""Arrays with a block of numbers a row, on disk: computed once, by all processes together that need them at once.

The file is an ordinary .npy with a note beside it. While it is made, processes share the work part by part: locks of
the operating system say who computes what, so a process that dies leaves its part to the others.
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
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of a file system that has none
SECONDS = struct.Struct("d")


@dataclass(frozen=True)
class ArrayJob:
    """What is to be computed, in parts.

    Attributes:
        offsets: (n + 1,) int64; row i is the block `[offsets[i], offsets[i + 1])` of the array.
        width: numbers in a line of a block.
        parts: row indices, which together hold each row once.
        compute: gives a part's blocks one after another: (lines, width).
    """

    offsets: Rows
    width: int
    parts: Sequence[Rows]
    compute: Callable[[Rows], Values]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the array."""
        return int(self.offsets[-1]), self.width

    @property
    def bytes(self) -> int:
        """Of the array."""
        return 4 * self.shape[0] * self.shape[1]

    def blocks(self, rows: Rows) -> list[tuple[int, Values]]:
        """Compute a part: where each of its blocks begins, and the block."""
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
    """The array.

    Attributes:
        values: as `ArrayJob.shape` says, float32.
        seconds: what computing it took, whoever did.
    """

    values: Values
    seconds: float


def in_memory(work: ArrayJob) -> SharedArray:
    """Compute it here, for this process alone."""
    start = time.perf_counter()
    values = np.empty(work.shape, dtype=np.float32)
    for rows in work.parts:
        for first, block in work.blocks(rows):
            values[first : first + len(block)] = block
    return SharedArray(values, time.perf_counter() - start)


def on_disk(path: Path, work: ArrayJob) -> SharedArray:
    """Map the array, computing it first if it is not there or damaged.

    Args:
        path: of the .npy file; the same path always stands for the same work.
        work: what to compute.

    Raises:
        OSError: it cannot be written.
        HarnessError: a number is not finite.
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
    """Map a whole array; None if there is none."""
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
    # Last, so that an array with this file is whole.
    write_json(path.with_suffix(".json"), {"seconds": seconds, "crc32": zlib.crc32(values.data)})


class _ArrayBuilder:
    """A file that is being made.

    Beside it lies one with the seconds that each part took, 0 while it is not done. Of that file byte 0 is locked by
    everybody who works here, byte 1 + i by who computes part i, and the one after all parts by who finishes.
    """

    def __init__(self, path: Path, work: ArrayJob) -> None:
        self.path, self.work = path, work
        # Parts are cut by the size of a batch, which is the user's to choose.
        stem = path.with_suffix(f".building{len(work.parts[0])}")
        self.progress, self.array = stem, stem.with_name(f"{stem.name}.npy")
        header = io.BytesIO()
        content = {"descr": "<f4", "fortran_order": False, "shape": work.shape}
        np.lib.format.write_array_header_1_0(header, content)
        self.header = header.getvalue()

    def build(self) -> None:
        """Take part until the file is there; return at once where another process has just finished it."""
        self.file = os.open(self.progress, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # Whoever is alone here begins anew: what was left behind may have been lost half-way to the disk.
            alone = self._lock(0, fcntl.LOCK_EX, wait=False)
            if not alone:
                self._lock(0, fcntl.LOCK_SH)
            if not self._stands():
                return
            if alone:
                self._lay_out()
                self._lock(0, fcntl.LOCK_SH)
            elif not self._laid_out():  # whoever was alone has died at it
                return
            with suppress(FileNotFoundError):  # another process has finished it meanwhile
                self._compute(wait=False)
                self._compute(wait=True)
            self._lock(1 + len(self.work.parts), fcntl.LOCK_EX)
            # Without its array it was left behind by one that died as it finished, and one alone must begin anew.
            if self._stands() and self.array.exists():
                self._finish()
        finally:
            os.close(self.file)  # and every lock is free

    def _lock(self, byte: int, kind: int, wait: bool = True) -> bool:
        try:
            fcntl.lockf(self.file, kind if wait else kind | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _stands(self) -> bool:
        """Whether the file that is locked is still the one that others find."""
        try:
            return os.path.samestat(self.progress.stat(), os.fstat(self.file))
        except FileNotFoundError:
            return False

    def _lay_out(self) -> None:
        os.ftruncate(self.file, 0)
        with self.array.open("wb") as file:
            file.write(self.header)
            file.truncate(len(self.header) + self.work.bytes)
        # Last, so that with this length the array is laid out.
        os.ftruncate(self.file, SECONDS.size * len(self.work.parts))

    def _laid_out(self) -> bool:
        return os.fstat(self.file).st_size == SECONDS.size * len(self.work.parts)

    def _seconds(self, part: int) -> float:
        seconds: float = SECONDS.unpack(os.pread(self.file, SECONDS.size, SECONDS.size * part))[0]
        return seconds

    def _compute(self, wait: bool) -> None:
        """Compute the parts that nobody has; with `wait`, those whose process died, too."""
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
