"""Frozen features: what an unchanged backbone makes of every row, computed once on a machine and shared by all runs."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.record import atomic, digest, write_json

FORMAT = 1  # raised when the cached values or files change


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

    def path(self, cache_dir: Path) -> Path:
        """Where the features lie."""
        parts = [FORMAT, self.tokens, self.model, self.pooling, self.precision]
        return cache_dir.expanduser() / "features" / f"{digest(parts)[:32]}.npy"


@dataclass(frozen=True)
class Features:
    """Features of one split.

    Attributes:
        values: (n, d) float32, L2-normalised.
        seconds: what computing them took, when that was done.
    """

    values: npt.NDArray[np.float32]
    seconds: float


def cached_features(
    key: FeatureKey, rows: int, cache_dir: Path, compute: Callable[[], npt.NDArray[np.float32]]
) -> Features:
    """Map the features from the cache, or compute and cache them.

    An entry that is damaged is made anew; processes that compute the same entry at once both leave it whole.

    Args:
        key: what they depend on.
        rows: n.
        cache_dir: features lie in `features/` in it.
        compute: gives (n, d) float32, L2-normalised.

    Raises:
        HarnessError: a feature is not finite, or the cache cannot be written.
    """
    path = key.path(cache_dir)
    found = _read(path, rows)
    if found is not None:
        return found
    start = time.perf_counter()
    values = compute()
    seconds = time.perf_counter() - start
    if not np.isfinite(values).all():
        raise HarnessError("The frozen backbone gives features that are not finite: try train.precision=fp32.")
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, values)
        # Last, so that an entry with this file is whole.
        write_json(
            path.with_suffix(".json"), {"seconds": seconds, "crc32": zlib.crc32(np.ascontiguousarray(values).data)}
        )
    except OSError as error:
        raise HarnessError(
            f"Features cannot be cached in {path.parent}: {error.strerror or error}. Make room there, or set "
            "cache_dir=FOLDER."
        ) from error
    return _read(path, rows) or Features(values, seconds)


def _read(path: Path, rows: int) -> Features | None:
    try:
        entry: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        values = np.load(path, mmap_mode="r")
        whole = zlib.crc32(values.data) == entry["crc32"] and values.ndim == 2 and len(values) == rows
        return Features(values, float(entry["seconds"])) if whole else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
