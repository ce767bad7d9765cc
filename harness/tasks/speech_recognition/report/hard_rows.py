"""Hard utterances: the test sounds with the most wrong words, aligned, with players of the first ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.formatting.escape import plain
from harness.formatting.values import plural
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions
from harness.tasks.audio_classification.report.hard_sounds import Players

ROWS = 20  # maximum number shown
COLUMNS = (
    HardColumn("sound"),
    HardColumn("id", numeric=True),
    HardColumn("said, and written where it differs [said > written]"),
    HardColumn("wrong words", numeric=True, falling=True),
    HardColumn("words", numeric=True),
    HardColumn("wrong words of other cells", numeric=True, falling=True),
)


def hard_rows(known: Predictions, others: Sequence[Predictions]) -> HardRows:
    """Find the sounds with the most wrong words, means of a cell's runs; see `FamilyReport`."""
    wrong = known.column("errors").astype(np.float64)  # (S, n)
    errors, words = wrong.mean(axis=0), known.column("words")[0]
    beside = [each.column("errors").astype(np.float64).mean(axis=0) for each in others]
    lines, names = known.column("alignment")[0], known.column("audio")[0]
    players = Players(known.column("clip"))
    order = [row for row in np.lexsort((known.ids, -errors))[:ROWS].tolist() if errors[row] > 0]
    rows = [
        [
            HardCell(plain(str(names[row]), 60), sound=players.of(row)),
            HardCell(str(known.ids[row]), float(known.ids[row])),
            HardCell(str(lines[row])),
            HardCell(f"{errors[row]:.3g}", float(errors[row])),
            HardCell(str(words[row]), float(words[row])),
            _mean([each[row] for each in beside]),
        ]
        for row in order
    ]
    clean = float((wrong == 0).mean())
    sentence = (
        f"The utterances with the most wrong words, means of its {plural(len(known.seeds), 'run')}; the alignment is "
        f"of the first. {clean:.0%} of all utterances have none."
    )
    return HardRows(sentence, COLUMNS, rows, texts=True)


def _mean(values: Sequence[float]) -> HardCell:
    return HardCell(f"{np.mean(values):.3g}", float(np.mean(values))) if values else HardCell("", "")
