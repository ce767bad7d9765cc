"""A trial of a second model beside the default one: it gets a share of the requests, or sees them in its shadow."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.statistics.confidence.two_shares import LOOKS, looks


@dataclass
class Trial:
    """Two models of a service, and what feedback says of either.

    Attributes:
        first: the default model.
        second: the one on trial.
        share: of the requests to the paths without a name that the second one answers; 0: it is a shadow, which
            predicts for all of them, and whose predictions are only compared.
        right: by model, whether the answers that feedback was given on were right, in order.
        compared, same: rows that a shadow has predicted, and those with the same answer.
    """

    first: str
    second: str
    share: float
    right: dict[str, list[bool]] = field(default_factory=dict)
    compared: int = 0
    same: int = 0

    def chosen(self) -> str:
        """Return the model that answers the next request."""
        return self.second if random.random() < self.share else self.first

    def add(self, model: str, row: Mapping[str, Any]) -> None:
        """Count a row of feedback, if it says what the model had answered."""
        if model in (self.first, self.second) and "predicted" in row:
            self.right.setdefault(model, []).append(row["predicted"] == row["label"])

    def resume(self, directory: Path, digests: Mapping[str, str]) -> None:
        """Count the stored feedback on the same models.

        Args:
            directory: of the feedback.
            digests: of the models, by name; feedback on other models of these names does not count.
        """
        for model in (self.first, self.second):
            rows = []
            for file in sorted((directory / model).glob("*.jsonl")):
                for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
                    try:
                        rows.append(json.loads(line))
                    except ValueError:  # the file may be edited by hand
                        continue
            kept = [row for row in rows if isinstance(row, dict) and row.get("digest") == digests[model]]
            for row in sorted(kept, key=lambda row: str(row.get("time"))):
                if "label" in row:
                    self.add(model, row)

    def told(self) -> dict[str, Any]:
        """Return what is known, as JSON."""
        first, second = (self.right.get(name, []) for name in (self.first, self.second))
        found = looks(first, second)
        counts = {
            name: {"feedback": len(right), "right": sum(right)}
            for name, right in ((self.first, first), (self.second, second))
        }
        answer: dict[str, Any] = {"first": self.first, "second": self.second, "share": self.share, "feedback": counts}
        if not self.share:
            answer |= {"compared": self.compared, "same": self.same}
        answer |= {"verdict": found[-1].verdict if found else "unresolved"}
        if found:
            last = found[-1]
            answer["look"] = {
                "rows": last.rows, "difference": round(last.difference, 4), "low": round(last.low, 4),
                "high": round(last.high, 4),
            }  # fmt: skip
        following = next((rows for rows in LOOKS if not found or rows > found[-1].rows), None)
        if answer["verdict"] == "unresolved" and following is not None:
            answer["next_look"] = following
        return answer


def trial_of(share: str | None, shadow: str | None, names: Mapping[str, Any]) -> Trial | None:
    """Make the trial that the command line asks for; None without one.

    Args:
        share: `NAME=SHARE`, such as `new=0.2`.
        shadow: a name.
        names: the models, the default one first.

    Raises:
        HarnessError: it names no second model, or no share.
    """
    if share is None and shadow is None:
        return None
    if share is not None and shadow is not None:
        raise HarnessError("A second model either answers a share of the requests or is a shadow: --share or --shadow.")
    name, _, number = (share or f"{shadow}=0").partition("=")
    first, *others = names
    option = "--share" if share is not None else "--shadow"
    if name not in others:
        raise HarnessError(
            f"{option} {share or shadow} must name a second model of this service, one of "
            f"{', '.join(others) or 'which there is none: add NAME=PATH'}."
        )
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if share is not None and not 0 < value < 1:
        raise HarnessError(f"--share {share} must be NAME=SHARE with a share between 0 and 1, such as {name}=0.2.")
    return Trial(first, name, value)
