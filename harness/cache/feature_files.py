"""What a frozen backbone makes of every row, computed once on a machine and shared by all runs.

Features are the pooled, normalised vectors of rows; states are what the first trained block of a partly frozen backbone
reads, a vector for every token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.cache.disk_cache import Cache
from harness.cache.shared_array import ArrayJob, SharedArray, in_memory, on_disk
from harness.errors import HarnessError
from harness.records.signature import digest

FORMAT = 2  # raised when the cached values or files change


@dataclass(frozen=True)
class FeatureKey:
    """What frozen features depend on; so draws and shots of one data set share those of its test rows.

    Attributes:
        tokens: digest of the rows' tokens.
        model: digest of the pretrained files.
        pooling: how token vectors become one.
        precision: fp32 | bf16.
    """

    tokens: str
    model: str
    pooling: str
    precision: str

    def path(self, cache: Cache) -> Path:
        """Where the features lie."""
        parts = [FORMAT, self.tokens, self.model, self.pooling, self.precision]
        return cache.folder("features") / f"{digest(parts)[:32]}.npy"


@dataclass(frozen=True)
class StatesKey:
    """What states depend on.

    Attributes:
        tokens, model, precision: see `FeatureKey`.
        frozen: how many blocks lie below.
    """

    tokens: str
    model: str
    precision: str
    frozen: int

    def path(self, cache: Cache) -> Path:
        """Where the states lie."""
        parts = [FORMAT, "states", self.tokens, self.model, self.precision, self.frozen]
        return cache.folder("states") / f"{digest(parts)[:32]}.npy"


def cached_states(key: StatesKey, cache: Cache, work: ArrayJob) -> SharedArray | None:
    """Map states from the cache, or compute and cache them; None where the cap leaves no room.

    Args:
        key: what they depend on.
        cache: where they are kept.
        work: gives (tokens, d).

    Raises:
        HarnessError: a state is not finite, or the cache cannot be written.
    """
    return _cached("States", key.path(cache), cache, work)


def cached_features(key: FeatureKey, cache: Cache, work: ArrayJob) -> SharedArray:
    """Map the features from the cache, or compute and cache them; where it has no room for them, in memory.

    An entry that is damaged is made anew; processes that need the same entry at once share the work.

    Args:
        key: what they depend on.
        cache: where they are kept.
        work: gives (n, d), L2-normalised.

    Raises:
        HarnessError: a feature is not finite, or the cache cannot be written.
    """
    return _cached("Features", key.path(cache), cache, work) or in_memory(work)


def _cached(what: str, path: Path, cache: Cache, work: ArrayJob) -> SharedArray | None:
    try:
        return on_disk(path, work) if path.exists() or cache.make_room(work.bytes) else None
    except OSError as error:
        raise HarnessError(
            f"{what} cannot be cached in {path.parent}: {error.strerror or error}. Make room there, or set "
            "cache_dir=FOLDER."
        ) from error
