"""Hard rows of images: those of classification, with names and thumbnails."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

from harness.formatting.escape import plain
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions, Unreadable
from harness.tasks.text_classification.report.hard_rows import hard_rows


def hard_images(known: Predictions, others: Sequence[Predictions]) -> HardRows:
    """Find the images that the runs of a cell miss most; see `FamilyReport`."""
    found = hard_rows(known, others)
    try:
        names, small = known.column("image"), known.column("thumbnail")  # (S, n)
    except Unreadable:
        return found
    place = {str(id_): index for index, id_ in enumerate(known.ids)}
    rows = []
    for row in found.rows:
        index = place[row[0].text]
        picture = next((bytes(each) for each in small[:, index] if isinstance(each, bytes)), b"")
        address = f"data:image/png;base64,{base64.b64encode(picture).decode()}" if picture else None
        name = plain(str(names[0, index]), 60)
        rows.append([HardCell(name, picture=address), *row])
    columns = (HardColumn("image"), *found.columns)
    return replace(found, columns=columns, rows=rows, texts=True)
