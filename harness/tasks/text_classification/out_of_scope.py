"""Rows that belong to no class (`task.oos_label`): held out of training, and split for validation and test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.data import groups
from harness.data.splits import normal_form
from harness.data.text_values import match, plain
from harness.errors import Problems
from harness.formatting.examples import alternatives
from harness.formatting.values import plural

NAMES = {"validation": "validation_outside", "test": "test_outside"}  # of the splits of these rows
Frames = dict[str, pd.DataFrame]


def separate(frames: Mapping[str, pd.DataFrame], given: Any, seed: int) -> tuple[Frames, Frames, list[str]]:
    """Take the rows of some labels out of all splits.

    Rows of given validation and test splits stay rows of these. Those of the training file are for validation; if there
    are no such test rows, half of them, or of their groups, are for test.

    Args:
        frames: rows by given split, at least `train`.
        given: `task.oos_label`: a label or several.
        seed: of the halves.

    Returns:
        The remaining rows by given split; the rows taken out, by `validation` and `test` (either may be missing); and
        their labels as they are written in the source.

    Raises:
        HarnessError: a label does not occur, or a given split has no other rows.
    """
    known = sorted({label for frame in frames.values() for label in frame["label"]})
    problems, labels = Problems(), list[str]()
    for each in given if isinstance(given, list | tuple) else [given]:
        found = match(each, known)
        if problems.check(
            found is not None,
            f"task.oos_label={plain(each)} is no label of the rows. {alternatives(plain(each), known)}",
        ):
            labels.append(str(found))
    problems.raise_any()
    inside = {split: frame[~frame["label"].isin(labels)] for split, frame in frames.items()}
    for split, frame in inside.items():
        problems.check(
            not frame.empty,
            f"task.oos_label takes all {len(frames[split])} {split} rows out: a {split} split needs rows of classes.",
        )
    problems.raise_any()
    for split, frame in inside.items():
        frame.attrs = dict(frames[split].attrs)
    out = {split: frame[frame["label"].isin(labels)] for split, frame in frames.items()}
    return inside, _parts(out, seed), labels


def _parts(out: Mapping[str, pd.DataFrame], seed: int) -> Frames:
    spare, parts = out["train"], {split: [out[split]] for split in NAMES if split in out and len(out[split])}
    if "test" not in parts and len(spare):
        first = _half(spare, seed)
        parts["test"], spare = [spare[first]], spare[~first]
    if len(spare):
        parts.setdefault("validation", []).append(spare)
    found = {split: pd.concat(each) for split, each in parts.items()}
    if len(found) == 2:  # what chooses a detector must not be what it is measured on
        met = set(normal_form(found["test"]))
        found["validation"] = found["validation"][~normal_form(found["validation"]).isin(met)]
    return {split: frame for split, frame in found.items() if len(frame)}


def _half(frame: pd.DataFrame, seed: int) -> Any:
    """Mark half of the rows, rounded up; whole groups where there are some."""
    of_rows = groups.of_frame(frame)
    units = np.arange(len(frame)) if of_rows is None else np.unique(of_rows.astype(str), return_inverse=True)[1]
    drawn = np.random.default_rng(seed).permutation(int(units.max()) + 1)
    return np.isin(units, drawn[: math.ceil(len(drawn) / 2)])


def told(labels: Sequence[str], parts: Mapping[str, pd.DataFrame]) -> list[str]:
    """Say what the rows lack to be of use."""
    counts = {split: len(parts.get(split, ())) for split in NAMES}
    name = plural(len(labels), "label")
    if not counts["test"]:
        return [f"There are no test rows of the {name} out of scope, so how well they are found is not measured."]
    if not counts["validation"]:
        return [f"There are no validation rows of the {name} out of scope, so no detector is chosen by them."]
    return []
