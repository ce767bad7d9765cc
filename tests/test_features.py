"""Frozen features are computed once, shared, and made anew when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.features import FeatureKey, cached_features

KEY = FeatureKey("t" * 64, "m" * 64, "mean", "fp32")
VALUES = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def count(tmp_path: Path, key: FeatureKey = KEY, rows: int = 5) -> int:
    """Ask for features; return how often they were computed for it."""
    calls: list[int] = []

    def compute() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        calls.append(1)
        return VALUES[:rows]

    found = cached_features(key, rows, tmp_path, compute)
    assert np.array_equal(found.values, VALUES[:rows])
    return len(calls)


def test_computed_once_and_mapped(tmp_path: Path) -> None:
    """The second request is answered from the disk, memory-mapped, with the seconds that computing once took."""
    assert count(tmp_path) == 1 and count(tmp_path) == 0
    found = cached_features(KEY, 5, tmp_path, lambda: VALUES)
    assert isinstance(found.values, np.memmap) and found.seconds > 0


@pytest.mark.parametrize("field", ["tokens", "model", "pooling", "precision"])
def test_everything_they_depend_on_is_in_the_key(field: str, tmp_path: Path) -> None:
    """Features of other rows, or by another model, pooling or precision, are computed."""
    assert count(tmp_path) == 1
    assert count(tmp_path, replace(KEY, **{field: "other"})) == 1


@pytest.mark.parametrize("damage", ["cut", "bits", "note", "gone"])
def test_damaged_entry_is_made_anew(damage: str, tmp_path: Path) -> None:
    """A cut file, a flipped byte, or a note that is cut or gone costs the computation, not the run."""
    count(tmp_path)
    path = KEY.path(tmp_path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "bits":
        path.write_bytes(path.read_bytes()[:-8] + b"12345678")
    elif damage == "note":
        path.with_suffix(".json").write_text("{")
    else:
        path.with_suffix(".json").unlink()
    assert count(tmp_path) == 1 and count(tmp_path) == 0


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """A backbone that gives NaN is an error, and nothing is cached."""
    with pytest.raises(HarnessError, match="not finite"):
        cached_features(KEY, 1, tmp_path, lambda: np.full((1, 4), np.nan, dtype=np.float32))
    assert not KEY.path(tmp_path).exists()


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """A cache directory below a file is told, with the way out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cache_dir=FOLDER"):
        cached_features(KEY, 5, tmp_path / "file", lambda: VALUES)
