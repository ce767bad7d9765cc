"""Rows of a batch joined to sequences, which saves padding; no row sees another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def bins(lengths: npt.NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Distribute rows to sequences: first fit, longest first (Johnson 1973).

    Args:
        lengths: (n,) tokens per row.
        capacity: most tokens of a sequence; a longer row has a sequence to itself.

    Returns:
        The indices of the rows of each sequence.
    """
    found: list[list[int]] = []
    room: list[int] = []
    for row in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[row])
        place = next((index for index, left in enumerate(room) if length <= left), None)
        if place is None:
            found.append([])
            room.append(capacity)
            place = len(found) - 1
        found[place].append(row)
        room[place] -= length
    return found


def positions(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the positions of the tokens of rows that follow one another: each row begins at 0.

    transformers keeps rows apart by them: without an attention mask it builds a block-diagonal one where positions
    begin anew (`transformers.masking_utils.find_packed_sequence_indices`).
    """
    return np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])
