"""Hard rows of sounds: those of classification, with names and, for the first ones, players."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from harness.formatting.escape import plain
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions, Unreadable
from harness.tasks.text_classification.report.hard_rows import hard_rows

PLAYERS = 5  # most players of a cell: a clip of three seconds is 48 kB, and a page should open at once


class Players:
    """Addresses of clips for the first rows that ask for one.

    Args:
        clips: (S, n) WAV files by run and row; anything else where there is none.
    """

    def __init__(self, clips: npt.NDArray[Any]) -> None:
        self._clips, self._made = clips, 0

    def of(self, row: int) -> str | None:
        """Return a data URL of a row's clip; None without one, or once there are `PLAYERS`."""
        clip = next((bytes(each) for each in self._clips[:, row] if isinstance(each, bytes)), b"")
        if not clip or self._made >= PLAYERS:
            return None
        self._made += 1
        return f"data:audio/wav;base64,{base64.b64encode(clip).decode()}"


def hard_sounds(known: Predictions, others: Sequence[Predictions]) -> HardRows:
    """Find the sounds that the runs of a cell miss most; see `FamilyReport`."""
    found = hard_rows(known, others)
    try:
        names, clips = known.column("audio"), known.column("clip")  # (S, n)
    except Unreadable:
        return found
    place = {str(id_): index for index, id_ in enumerate(known.ids)}
    rows, players = [], Players(clips)
    for row in found.rows:
        index = place[row[0].text]
        rows.append([HardCell(plain(str(names[0, index]), 60), sound=players.of(index)), *row])
    columns = (HardColumn("sound"), *found.columns)
    return replace(found, columns=columns, rows=rows, texts=True)
