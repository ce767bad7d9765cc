"""Training rows beside an export (`harness export --examples`), to show which of them a new row is most similar to.

export/
examples.safetensors   `features` (n, d), L2-normalized, of the exported model
examples.jsonl         a line for each of these rows: text, pair of models of pairs, label
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError

FEATURES, ROWS = "examples.safetensors", "examples.jsonl"
MOST = 20_000  # rows that are kept; more are thinned evenly


@dataclass(frozen=True)
class TrainingRows:
    """See the module.

    Attributes:
        features: (n, d), L2-normalized.
        rows: their n texts and labels.
    """

    features: npt.NDArray[np.float32]
    rows: tuple[dict[str, str], ...]

    def nearest(self, features: npt.NDArray[np.float32], count: int) -> list[dict[str, Any]]:
        """Return the rows most similar to one with features (d,), the most similar first, with their cosines."""
        similar = self.features @ features
        order = np.argsort(-similar, kind="stable")[:count]
        return [{**self.rows[row], "similarity": round(float(similar[row]), 4)} for row in order.tolist()]

    def write(self, directory: Path) -> None:
        """Write both files."""
        from safetensors.numpy import save_file

        save_file({"features": np.ascontiguousarray(self.features)}, directory / FEATURES)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        (directory / ROWS).write_text(lines, encoding="utf-8")


def read_training_rows(directory: Path) -> TrainingRows | None:
    """Read the training rows of an export; None if it has none.

    Raises:
        HarnessError: the files are damaged or do not fit together.
    """
    if not (directory / ROWS).is_file():
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        features = load_file(directory / FEATURES)["features"]
        # Split at line feeds only: texts may hold other characters that Python takes for ends of lines.
        lines = (directory / ROWS).read_text(encoding="utf-8").rstrip("\n").split("\n")
        rows = tuple(json.loads(line) for line in lines)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise HarnessError(f"The training rows in {directory} cannot be read ({error}): export again.") from error
    if len(rows) != len(features):
        raise HarnessError(f"{directory / ROWS} has {len(rows)} rows and {FEATURES} {len(features)}: export again.")
    return TrainingRows(features, rows)
