"""The cache of a machine: what runs have computed and share; above a cap what was not used for longest goes.

Whatever lies in it can be made anew, and nothing that a run computes depends on whether it was there.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("tokens", "features", "states")  # what the cap is about; digests, plans and written copies are small
GIGABYTE = 10**9
ABANDONED = 24 * 3600.0  # seconds after which a file that somebody began to write counts as left behind


@dataclass(frozen=True)
class Cache:
    """Where it lies, and how large it may grow.

    Attributes:
        directory: entries lie in folders in it.
        gigabytes: the cap on tokens, features and states together; 0 keeps none.
    """

    directory: Path
    gigabytes: float

    def folder(self, name: str) -> Path:
        """One of `FOLDERS`."""
        return self.directory.expanduser() / name

    def make_room(self, size: int) -> bool:
        """Drop entries until another one fits below the cap; False, and nothing is dropped, if it never will.

        A process that reads an entry goes on reading it: the file is mapped, and gone only when nobody has it open.

        Args:
            size: bytes of the new entry.

        Raises:
            OSError: the cache cannot be written.
        """
        cap = self.gigabytes * GIGABYTE
        if size > cap:
            return False
        root = self.directory.expanduser()
        root.mkdir(parents=True, exist_ok=True)
        with (root / "cap.lock").open("a") as lock:
            with suppress(OSError):  # a file system without locks: two may drop the same entry, which harms neither
                fcntl.flock(lock, fcntl.LOCK_EX)
            found = sorted(self._entries(), key=lambda entry: entry.used)
            total = sum(entry.size for entry in found) + size
            for entry in found:
                if total <= cap:
                    break
                if not entry.growing:
                    entry.drop()
                    total -= entry.size
        return True

    def _entries(self) -> Iterator[_Entry]:
        for name in FOLDERS:
            groups: dict[str, list[Path]] = {}
            with suppress(FileNotFoundError):
                for path in self.folder(name).iterdir():
                    groups.setdefault(path.name.split(".")[0], []).extend(path.iterdir() if path.is_dir() else [path])
            for paths in groups.values():
                if (entry := _Entry.of(paths)) is not None:
                    yield entry


def use(note: Path) -> None:
    """Mark an entry, by the file that describes it, as used now."""
    with suppress(OSError):  # a cache that others own is read all the same
        os.utime(note)


@dataclass(frozen=True)
class _Entry:
    paths: list[Path]
    size: int
    used: float
    growing: bool

    @classmethod
    def of(cls, paths: list[Path]) -> _Entry | None:
        """The entry that some files make; None if they are gone by now."""
        found = []
        for path in paths:
            with suppress(OSError):
                found.append(path.stat())
        if not found:
            return None
        used = max(stat.st_mtime for stat in found)
        growing = any(".building" in path.name for path in paths) and time.time() - used < ABANDONED
        return cls(paths, sum(stat.st_size for stat in found), used, growing)

    def drop(self) -> None:
        # What describes the entry goes first: without it the rest counts as damaged.
        for path in sorted(self.paths, key=lambda path: path.suffix != ".json"):
            path.unlink(missing_ok=True)
        if (folder := self.paths[0].parent).name not in FOLDERS:
            with suppress(OSError):
                folder.rmdir()
