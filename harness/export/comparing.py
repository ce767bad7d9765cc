"""Two saved models of one task on the same rows: what the new one has learned, and what it has forgotten."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.family import family_of
from harness.config.instantiate import build
from harness.data.readers.advice import without_settings
from harness.data.readers.file_formats import FileFormat
from harness.data.readers.rows import read_rows
from harness.data.text_values import match
from harness.errors import HarnessError
from harness.export.winner import Winner
from harness.formatting.examples import examples
from harness.formatting.values import plural

LEVEL = 0.95  # of the intervals
TEXTS = "text_classification"  # family of the models
SHOWN = 5  # classes that are listed
Right = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Labeled rows.

    Attributes:
        name: what they are.
        texts, pairs: n texts; n second texts or None.
        labels: n class names.
        left_out: rows that are not among them because the new model was trained on them.
    """

    name: str
    texts: list[str]
    pairs: list[str] | None
    labels: list[str]
    left_out: int = 0


@dataclass(frozen=True)
class Compared:
    """Two models on the same rows.

    Attributes:
        name, rows, left_out: of the rows; see `Rows`.
        old, new: shares of right answers.
        low, high: interval of new less old, paired by row.
        learned, forgotten: rows that only the new model, and only the old one, answers right.
        classes: classes with the most forgotten rows: name, forgotten, rows.
    """

    name: str
    rows: int
    left_out: int
    old: float
    new: float
    low: float
    high: float
    learned: int
    forgotten: int
    classes: tuple[tuple[str, int, int], ...]


def compare(old: Winner, new: Winner, file: Path | None, columns: Sequence[str], cache_dir: str) -> list[Compared]:
    """Compare two models on the test rows of the old one's run and on rows of a file.

    Args:
        old, new: the models.
        file: of labeled rows; None compares test rows only.
        columns: of the file: those of the texts, then that of the labels.
        cache_dir: cache of digests.

    Raises:
        HarnessError: one of them predicts no classes, they take other inputs, or there are no rows.
    """
    from harness.serving.predict import load
    from harness.serving.saved_model import read_description

    for each in (old, new):
        if (family := family_of(read_description(each.model).get("family")).name) != TEXTS:
            raise HarnessError(f"{each.model} is a model of {family}; compare-models takes models of classes of texts.")
    predictors = [load(each.model, "cpu", cache_dir) for each in (old, new)]
    if predictors[0].pairs != predictors[1].pairs:
        raise HarnessError(f"{old.model} and {new.model} take other inputs, one pairs of texts: name two of one task.")
    if not {*predictors[0].labels} & {*predictors[1].labels}:
        raise HarnessError(f"{old.model} and {new.model} have no class in common: name two of one task.")
    needed = 2 if predictors[0].pairs else 1
    if file is not None and len(columns) - 1 != needed:
        how = "pairs of texts: --text FIRST SECOND" if needed == 2 else "single texts: --text COLUMN"
        raise HarnessError(f"These models take {how}, and --text names {plural(len(columns) - 1, 'column')}.")
    trained = _trained_on(new)
    rows = []
    if old.run is not None:
        rows.append(_without(_test_rows(old), trained))
    if file is not None:
        try:
            frame = read_rows(file, list(columns[:-1]), columns[-1], FileFormat(), {})
        except HarnessError as error:
            advice = "--text COLUMN and --label COLUMN"
            raise HarnessError(*(without_settings(each, advice) for each in error.problems)) from error
        known = sorted({*predictors[0].labels, *predictors[1].labels})
        labels = [match(label, known) or str(label) for label in frame["label"]]
        if unknown := sorted(set(labels) - set(known)):
            raise HarnessError(f"{file} has labels that neither model knows: {examples(unknown)}. Mend or remove them.")
        pairs = frame["pair"].tolist() if "pair" in frame else None
        rows.append(_without(Rows(file.name, frame["text"].tolist(), pairs, labels), trained))
    if not rows:
        raise HarnessError(
            f"{old.model} lies in no run's directory, so its test rows are not known: name labeled rows, --rows FILE."
        )
    return [_compared(part, predictors) for part in rows]


def _trained_on(new: Winner) -> set[tuple[str, str]]:
    """Return the training rows of a model, as they are compared; empty if its run is not known."""
    data = None if new.run is None else _data(new.run.read_config())
    return set() if data is None else set(_forms(data.train.texts, data.train.pairs))


def _test_rows(old: Winner) -> Rows:
    assert old.run is not None
    data = _data(old.run.read_config())
    if data is None or not hasattr(data, "labels"):
        raise HarnessError(f"The run of {old.model} is of no task of classes.")
    test = data.test
    return Rows("test rows of the old run", test.texts, test.pairs, [data.labels[target] for target in test.targets])


def _data(config: Mapping[str, Any]) -> Any:
    try:
        return build(config["task"], config.get("packages", ())).load()
    except HarnessError as error:
        raise HarnessError("The rows of a run cannot be read: " + " ".join(error.problems)) from error


def _without(rows: Rows, trained: set[tuple[str, str]]) -> Rows:
    """Leave out rows that the new model was trained on, of which it says nothing."""
    kept = [place for place, form in enumerate(_forms(rows.texts, rows.pairs)) if form not in trained]
    if not kept:
        raise HarnessError(
            f"{rows.name}: the new model was trained on all of them, so they say nothing of it: name rows that it has "
            "not seen, such as later feedback."
        )
    pairs = None if rows.pairs is None else [rows.pairs[place] for place in kept]
    texts, labels = [rows.texts[place] for place in kept], [rows.labels[place] for place in kept]
    return Rows(rows.name, texts, pairs, labels, len(rows.texts) - len(kept))


def _forms(texts: Sequence[str], pairs: Sequence[str] | None) -> list[tuple[str, str]]:
    seconds = [""] * len(texts) if pairs is None else pairs
    return [(" ".join(a.lower().split()), " ".join(b.lower().split())) for a, b in zip(texts, seconds, strict=True)]


def _compared(rows: Rows, predictors: Sequence[Any]) -> Compared:
    labels = np.array(rows.labels, dtype=object)
    one, two = (np.array(each.predict(rows.texts, rows.pairs), dtype=object) == labels for each in predictors)
    difference = two.astype(float) - one.astype(float)
    n = len(difference)
    # Agresti and Min 2005: half a row in each of the four cells keeps the interval apart from zero width.
    learned, forgotten = int((two & ~one).sum()), int((one & ~two).sum())
    b, c, total = learned + 0.5, forgotten + 0.5, n + 2
    middle = (b - c) / total
    half = NormalDist().inv_cdf(0.5 + LEVEL / 2) * math.sqrt(max(b + c - (b - c) ** 2 / total, 0.0)) / total
    estimate = float(difference.mean())  # beyond the interval where all rows changed
    lost = {name: int((one & ~two & (labels == name)).sum()) for name in sorted(set(rows.labels))}
    worst = sorted((name for name in lost if lost[name]), key=lambda name: (-lost[name], name))[:SHOWN]
    return Compared(
        rows.name, n, rows.left_out, float(one.mean()), float(two.mean()),
        max(min(middle - half, estimate), -1.0), min(max(middle + half, estimate), 1.0), learned, forgotten,
        tuple((name, lost[name], int((labels == name).sum())) for name in worst),
    )  # fmt: skip
