"""Short clips of sounds, which predictions keep for the players of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.sounds import SoundSource, open_all, wav

CLIPS = 20  # most stored clips of a run
CLIP_SECONDS, CLIP_RATE = 3.0, 8_000  # of a stored clip: 48 kB at most


def clips(references: Sequence[str], worst: Sequence[int], sounds: Mapping[str, SoundSource], seconds: float) -> Any:
    """Return an Arrow array of n WAV files, null for all but the first of the worst rows.

    Args:
        references: n digests of the sounds.
        worst: indices of rows, the worst first.
        sounds: sources by digest.
        seconds: most seconds of a clip.
    """
    import pyarrow as pa

    made: list[bytes | None] = [None] * len(references)
    for row in worst[:CLIPS]:
        found = open_all([references[row]], sounds, CLIP_RATE, min(CLIP_SECONDS, seconds))
        made[row] = wav(found[0], CLIP_RATE)
    return pa.array(made, pa.binary())
