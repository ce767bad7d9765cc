"""The disk cache of a machine: results that runs share; above a size limit the least recently used are dropped.

Every entry can be computed again, and no result of a run depends on whether an entry exists.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("tokens", "features", "states")  # the size limit counts these, but no digests, plans and converted models
GIGABYTE = 10**9
ABANDONED = 24 * 3600.0  # age in seconds at which an unfinished file counts as abandoned


@dataclass(frozen=True)
class Cache:
    """Directory and size limit of the cache.

    Attributes:
        directory: parent directory of the folders with the entries.
        gigabytes: limit on tokens, features and states together; 0 disables the cache.
    """

    directory: Path
    gigabytes: float

    def folder(self, name: str) -> Path:
        """Return the path of one of `FOLDERS`."""
        return self.directory.expanduser() / name

    def make_room(self, size: int) -> bool:
        """Drop entries until a new one fits below the limit; return False, and drop nothing, if it can never fit.

        Processes that read a dropped entry can go on: its file is mapped, and disappears only when nobody has it open.

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
            with suppress(OSError):  # a file system without locks: two may drop the same entry, which is harmless
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
    """Mark an entry, given by its description file, as just used."""
    with suppress(OSError):  # a cache owned by another user is still read
        os.utime(note)


@dataclass(frozen=True)
class _Entry:
    paths: list[Path]
    size: int
    used: float
    growing: bool

    @classmethod
    def of(cls, paths: list[Path]) -> _Entry | None:
        """Return the entry that consists of these files; None if they are gone."""
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
        # Delete the description first: without it the other files count as damaged.
        for path in sorted(self.paths, key=lambda path: path.suffix != ".json"):
            path.unlink(missing_ok=True)
        if (folder := self.paths[0].parent).name not in FOLDERS:
            with suppress(OSError):
                folder.rmdir()
