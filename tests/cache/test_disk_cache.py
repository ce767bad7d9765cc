"""The cap on what is kept: the least recently used goes first, and what is in use stays readable."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from harness.cache.disk_cache import ABANDONED, Cache, use
from harness.cache.shared_array import ArrayJob, on_disk

SIZE = 4 * 1000 * 10


def put(cache: Cache, name: str, used: float, folder: str = "features") -> Path:
    """An entry of 40 kB that was last used some seconds after the first one."""
    assert cache.make_room(SIZE)
    path = cache.folder(folder) / f"{name}.npy"
    on_disk(path, ArrayJob(np.arange(1001), 10, [np.arange(1000)], lambda rows: np.ones((1000, 10), dtype=np.float32)))
    for each in (path, path.with_suffix(".json")):
        os.utime(each, (1e9 + used, 1e9 + used))
    return path


def names(cache: Cache) -> set[str]:
    """Entries that are there."""
    return {path.stem for path in cache.directory.rglob("*.json")}


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    """Room for three: the fourth pushes out the one that was not used for longest, in whichever folder it lies."""
    cache = Cache(tmp_path, 3.5 * SIZE / 1e9)
    first = put(cache, "a", 1)
    put(cache, "b", 2, "states")
    put(cache, "c", 3)
    use(first.with_suffix(".json"))
    put(cache, "d", 4)
    assert names(cache) == {"a", "c", "d"}


def test_entry_in_use_stays_readable(tmp_path: Path) -> None:
    """An array that a run has mapped gives its numbers although the entry was dropped."""
    cache = Cache(tmp_path, 1.5 * SIZE / 1e9)
    mapped = np.load(put(cache, "a", 1), mmap_mode="r")
    put(cache, "b", 2)
    assert names(cache) == {"b"}
    assert mapped.sum() == 10_000


def test_what_does_not_fit_drops_nothing(tmp_path: Path) -> None:
    """An entry larger than the cap is refused, and the others stay."""
    cache = Cache(tmp_path, 2.5 * SIZE / 1e9)
    put(cache, "a", 1)
    assert not cache.make_room(3 * SIZE)
    assert names(cache) == {"a"}


def test_half_made_files_stay_while_they_may_grow(tmp_path: Path) -> None:
    """What a process is making is not dropped; what was left behind a day ago is."""
    cache = Cache(tmp_path, 1.5 * SIZE / 1e9)
    growing = cache.folder("features") / "a.building64.npy"
    growing.parent.mkdir()
    growing.write_bytes(bytes(SIZE))
    assert cache.make_room(SIZE) and growing.exists()
    old = growing.stat().st_mtime - 2 * ABANDONED
    os.utime(growing, (old, old))
    assert cache.make_room(SIZE) and not growing.exists()


def test_tokens_count_and_go_as_a_whole(tmp_path: Path) -> None:
    """An entry of several files in a folder of its own goes with its folder."""
    cache = Cache(tmp_path, 1.5 * SIZE / 1e9)
    folder = cache.folder("tokens") / "key"
    folder.mkdir(parents=True)
    for name in ("ids.npy", "offsets.npy", "entry.json"):
        (folder / name).write_bytes(bytes(SIZE // 3))
    assert cache.make_room(SIZE)
    assert not folder.exists()
