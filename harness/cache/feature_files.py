"""Cached outputs of a frozen backbone, computed once per machine and shared by all runs.

Features are the pooled, normalized vectors of the examples. Hidden states are the inputs of the first trained block of
a partly frozen backbone, one vector per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.cache.disk_cache import Cache
from harness.cache.shared_array import ArrayJob, SharedArray, in_memory, on_disk
from harness.errors import HarnessError
from harness.records.signature import digest

FORMAT = 2  # increased when the cached values or files change


@dataclass(frozen=True)
class FeatureKey:
    """Cache key of frozen features. Draws and shots of one data set share the test features, whose key is the same.

    Attributes:
        tokens: digest of the tokenized examples.
        model: digest of the pretrained files.
        pooling: how token vectors are pooled into one.
        precision: fp32 | bf16.
    """

    tokens: str
    model: str
    pooling: str
    precision: str

    def path(self, cache: Cache) -> Path:
        """Return the path of the features."""
        parts = [FORMAT, self.tokens, self.model, self.pooling, self.precision]
        return cache.folder("features") / f"{digest(parts)[:32]}.npy"


@dataclass(frozen=True)
class StatesKey:
    """Cache key of hidden states.

    Attributes:
        tokens, model, precision: see `FeatureKey`.
        frozen: number of frozen blocks below them.
    """

    tokens: str
    model: str
    precision: str
    frozen: int

    def path(self, cache: Cache) -> Path:
        """Return the path of the hidden states."""
        parts = [FORMAT, "states", self.tokens, self.model, self.precision, self.frozen]
        return cache.folder("states") / f"{digest(parts)[:32]}.npy"


def cached_states(key: StatesKey | FeatureKey, cache: Cache, work: ArrayJob) -> SharedArray | None:
    """Map hidden states from the cache, or compute and cache them; None if they exceed the size limit.

    Args:
        key: cache key.
        cache: the disk cache.
        work: computes an array of shape (tokens, d).

    Raises:
        HarnessError: a value is not finite, or the cache cannot be written.
    """
    return _cached("States", key.path(cache), cache, work)


def cached_features(key: FeatureKey, cache: Cache, work: ArrayJob) -> SharedArray:
    """Map features from the cache, or compute and cache them; in memory if they exceed the size limit.

    A damaged entry is computed again; processes that need the same entry at the same time share the work.

    Args:
        key: cache key.
        cache: the disk cache.
        work: computes an array of shape (n, d), L2-normalized.

    Raises:
        HarnessError: a value is not finite, or the cache cannot be written.
    """
    return _cached("Features", key.path(cache), cache, work) or in_memory(work)


def _cached(what: str, path: Path, cache: Cache, work: ArrayJob) -> SharedArray | None:
    try:
        return on_disk(path, work) if path.exists() or cache.make_room(work.bytes) else None
    except OSError as error:
        raise HarnessError(
            f"{what} cannot be cached in {path.parent}: {error.strerror or error}. Free space there, or set "
            "cache_dir=FOLDER."
        ) from error
