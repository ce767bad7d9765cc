"""What a saved model predicts for many texts, computed once a machine (`augment=distil`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.records.files import atomic
from harness.records.signature import digest

FORMAT = 1  # of the cache files


def teach(
    directory: Path, identity: str, texts: Sequence[str], cache_dir: Path, device: str,
    say: Callable[[str], None], charge: Callable[[float], None],
) -> npt.NDArray[np.float32]:  # fmt: skip
    """Return the class probabilities (n, C) of a saved model, from the cache if it has them.

    Args:
        directory: of the saved model.
        identity: digest of its content.
        texts: n > 0 texts.
        cache_dir: keeps the results.
        device: where it computes.
        say: called with lines for the user.
        charge: called with the seconds that cached results had taken.

    Raises:
        HarnessError: the model cannot be loaded, or the results cannot be kept.
    """
    from filelock import FileLock

    folder = cache_dir.expanduser() / "augment"
    file = folder / f"teacher-{digest([FORMAT, identity, list(texts)])[:32]}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Runs of a study start together: one computes, the others wait for it.
        with FileLock(f"{file}.lock"):
            if (known := _read(file, len(texts))) is not None:
                charge(known[1])
                kept: npt.NDArray[np.float32] = known[0]
                return kept
            from harness.serving.predict import load

            say(f"The teacher {directory} predicts {len(texts)} texts, once.")
            started = time.perf_counter()
            found: npt.NDArray[np.float32] = load(directory, device, cache_dir).probabilities(texts)
            with atomic(file) as temporary, temporary.open("wb") as opened:
                np.savez(opened, probabilities=found, seconds=time.perf_counter() - started)
            return found
    except OSError as error:
        raise HarnessError(
            f"The teacher's predictions cannot be kept in {folder}: {error.strerror or error}. Free space there, or "
            "set cache_dir=FOLDER."
        ) from error


def _read(file: Path, rows: int) -> tuple[Any, float] | None:
    try:
        with np.load(file, allow_pickle=False) as content:
            found, seconds = content["probabilities"], float(content["seconds"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return (found, seconds) if found.ndim == 2 and len(found) == rows else None
