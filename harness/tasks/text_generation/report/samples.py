"""Samples side by side: prompt, references, and what a cell and the others wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.formatting.values import plural
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions
from harness.tasks.text_generation.report.outputs import outputs

ROWS = 20  # maximum number shown
COLUMNS = (
    HardColumn("id", numeric=True),
    HardColumn("prompt"),
    HardColumn("reference"),
    HardColumn("written"),
    HardColumn("score (higher is better)", numeric=True),
    HardColumn("written by other cells"),
)


def samples(known: Predictions, others: Sequence[Predictions]) -> HardRows | None:
    """Find the rows with the lowest mean scores of a cell's runs, with texts of its first run; see `FamilyReport`."""
    written, prompts = known.column("prediction"), known.column("prompt")[0]
    if any(text is None for text in written[0]):
        return None
    scores = known.scores.mean(axis=0)
    beside = [each.column("prediction")[0] for each in others]
    order = np.lexsort((known.ids, scores))[:ROWS]
    rows = [
        [
            HardCell(str(known.ids[index]), float(known.ids[index])),
            HardCell(str(prompts[index])),
            HardCell(_first(known.labels[index])),
            HardCell(str(written[0][index])),
            HardCell(f"{scores[index]:.3g}", float(scores[index])),
            HardCell(" | ".join(str(each[index]) for each in beside)),
        ]
        for index in order
    ]
    sentence = f"The lowest scores of its {plural(len(known.seeds), 'run')}, with the texts of the first."
    if (all_ := outputs(known)) is not None:
        tokens = all_.tokens
        sentence += (
            f" Its outputs have {tokens.mean():.0f} tokens on average, {np.percentile(tokens, 95):.0f} at the 95th "
            f"percentile, {tokens.max():.0f} at most; {all_.empty:.0%} are empty, {all_.refused:.0%} begin with a "
            f"refusal, and {all_.cut:.0%} were cut at the most tokens."
        )
    return HardRows(sentence, COLUMNS, rows, texts=True)


def _first(label: Any) -> str:
    """Return the first reference of a row; several are stored as a JSON list."""
    text = str(label)
    if not text.startswith("["):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return f"{found[0]} (+ {len(found) - 1} more)" if isinstance(found, list) and found else text
