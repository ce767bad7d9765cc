"""Frozen features are computed once and shared; what they depend on gives them another place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cache.disk_cache import Cache
from harness.cache.feature_files import FeatureKey, cached_features
from harness.cache.shared_array import ArrayJob, Rows, Values
from harness.errors import HarnessError

KEY = FeatureKey("t" * 64, "m" * 64, "mean", "fp32")
VALUES = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def count(cache: Cache, key: FeatureKey = KEY, rows: int = 5) -> int:
    """Ask for features; return of how many rows they were computed for it."""
    computed: list[int] = []

    def compute(part: Rows) -> Values:
        computed.extend(part.tolist())
        return VALUES[part]

    parts = [np.arange(rows)[::-1][start : start + 2] for start in range(0, rows, 2)]
    found = cached_features(key, cache, ArrayJob(np.arange(rows + 1), 4, parts, compute))
    assert np.array_equal(found.values, VALUES[:rows]) and found.seconds > 0
    return len(computed)


def test_features_are_computed_once(tmp_path: Path) -> None:
    """A second question is answered from the disk, as the same numbers."""
    cache = Cache(tmp_path, 1)
    assert count(cache) == 5
    assert count(cache) == 0


@pytest.mark.parametrize("field", ["tokens", "model", "pooling", "precision"])
def test_features_of_other_things_are_others(field: str, tmp_path: Path) -> None:
    """Other rows, another model, pooling or precision are computed anew."""
    cache = Cache(tmp_path, 1)
    assert count(cache) == 5
    assert count(cache, replace(KEY, **{field: "other"})) == 5


def test_features_without_room_are_computed_in_memory(tmp_path: Path) -> None:
    """Where the cap leaves no room, the numbers are the same and no file is left."""
    cache = Cache(tmp_path, 0)
    assert count(cache) == 5
    assert count(cache) == 5
    assert not any(tmp_path.rglob("*.npy"))


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """A cache directory below a file is told, with the way out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cache_dir=FOLDER"):
        count(Cache(tmp_path / "file", 1))
