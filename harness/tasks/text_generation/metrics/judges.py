"""Metrics of the user's own, such as a model that judges what another one wrote (`task.judges`). Imports no torch.

A judge is an object of a class of one's own, `{helpful: {_target_: my_package.Helpful, ...}}`, whose package is listed
in `packages`. Called with prompts, references and outputs (n texts, n tuples of texts, n texts), it returns n scores
from 0 to 1, higher is better. Objects are made for every check and in every worker, so a model is best loaded on the
first call.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.api.metric import Direction, Metric, Predictions, RowScores, Targets
from harness.errors import HarnessError, Problems
from harness.tasks.text_generation.metrics.corpus import mean_of, texts

FORM = "called with (prompts, references, outputs), it returns a score from 0 to 1 for each output"
EXAMPLE = "{helpful: {_target_: my_package.Helpful}}"


@dataclass(frozen=True)
class Judge:
    """A metric of the user's own.

    Attributes:
        call: the object, or a function with some of its arguments (`_partial_: true`).
    """

    call: Any

    @property
    def path(self) -> str:
        """Import path of its class or function."""
        made = self._made
        return f"{made.__module__}.{made.__qualname__}"

    @property
    def _made(self) -> Any:
        found = self.call.func if isinstance(self.call, functools.partial) else self.call
        return found if inspect.isroutine(found) or inspect.isclass(found) else type(found)

    @property
    def digest(self) -> str:
        """Hex digest of its path and of the file of its code: changed code gives other results."""
        try:
            file = inspect.getsourcefile(self._made)
            content = b"" if file is None else Path(file).read_bytes()
        except (TypeError, OSError):  # of a builtin
            content = b""
        return hashlib.sha256(self.path.encode() + b"\n" + content).hexdigest()

    def metric(self, name: str) -> Metric:
        """Return the judge as a metric."""
        known: dict[tuple[Any, ...], RowScores] = {}

        def rows(targets: Targets, predictions: Predictions) -> RowScores:
            written = texts(predictions)
            prompts = [str(getattr(references, "prompt", "")) for references in targets]
            key = (tuple(prompts), tuple(targets), written)
            if key not in known:
                known.clear()  # of one list of outputs: a value and the scores of rows are asked one after another
                known[key] = self._scores(prompts, [tuple(each) for each in targets], list(written))
            return known[key]

        corpus = mean_of(rows)
        return Metric(
            name, name.replace("_", " "), corpus.value, corpus.per_row, Direction.MAXIMIZE, "{:.3f}", 0.0, 1.0
        )

    def _scores(self, prompts: list[str], references: list[tuple[str, ...]], written: list[str]) -> RowScores:
        try:
            found = np.asarray(self.call(prompts, references, written), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise HarnessError(f"task.judges: {self.path} failed: {error}. As a judge, {FORM}.") from error
        if found.shape != (len(written),) or not ((found >= 0) & (found <= 1)).all():
            shown = f"an array of the shape {found.shape}" if found.shape != (len(written),) else "other numbers"
            raise HarnessError(
                f"task.judges: {self.path} returned {shown} for {len(written)} outputs. As a judge, {FORM}."
            )
        scores: RowScores = found
        return scores


def check_judges(given: Any, metrics: Mapping[str, Metric], problems: Problems) -> None:
    """Report judges that cannot be called, or have the name of another metric."""
    if given is None:
        return
    if not isinstance(given, Mapping):
        problems.add(f"task.judges names judges, {EXAMPLE}, not {given!r}.")
        return
    for name, call in given.items():
        problems.check(
            str(name).isidentifier(), f"task.judges: the name of a judge has letters, digits and _, not {name!r}."
        )
        problems.check(str(name) not in metrics, f"task.judges: {name} is a metric already. Choose another name.")
        problems.check(
            callable(call), f"task.judges.{name} is an object of a class of your own, {EXAMPLE}; {FORM}. Not {call!r}."
        )
