"""Outputs against transcripts: errors of each row, and both in one line. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.tasks.speech_recognition.metrics import aligned, counts
from harness.tasks.speech_recognition.normalizers import NORMALIZERS


def errors_of(
    said: Sequence[str], written: Sequence[str], normalize: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the number of wrong words and of words of each transcript, (n,) each."""
    change = NORMALIZERS[normalize]
    found = counts([*map(change, said)], [*map(change, written)]).astype(np.int64)
    return found[:, 0], found[:, 1]


def aligned_text(said: Sequence[str], written: Sequence[str], normalize: str) -> list[str]:
    """Return each transcript with what was written: `one [two > too] [three > ] [ > for]`, by normalized words."""
    change = NORMALIZERS[normalize]
    found = aligned([*map(change, said)], [*map(change, written)])
    lines = []
    for true, seen, chunks in zip(found.references, found.hypotheses, found.alignments, strict=True):
        parts = []
        for each in chunks:
            of_true = " ".join(true[each.ref_start_idx : each.ref_end_idx])
            of_seen = " ".join(seen[each.hyp_start_idx : each.hyp_end_idx])
            parts.append(of_true if each.type == "equal" else f"[{of_true} > {of_seen}]")
        lines.append(" ".join(parts))
    return lines
