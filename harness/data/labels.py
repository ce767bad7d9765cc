"""Class names: a consistent spelling over all splits, and plain-language descriptions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.data.text_values import WORDS, as_number, match
from harness.errors import HarnessError
from harness.formatting.examples import MOST, alternatives, examples, short

FEW_ROWS = 5  # mean rows per class below which numeric labels are considered measured values, not classes
MOSTLY = 0.9  # share of numeric labels from which on the others stand for missing values
MANY_VALUES = 20  # more distinct numbers than this are not a rating scale

_QUOTED = re.compile(r"""\s*("[^"]*"|'[^']*'|“[^”]*”|„[^“”]*[“”]|«[^»]*»)\s*""")


def one_spelling(frames: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Convert labels that files of different types spell differently to the spelling of the training rows.

    A column of numbers becomes `1.0` if one of its values is missing, and booleans are `True` in CSV files and `true`
    in others. Only equal numbers and equal booleans count as the same label.

    Args:
        frames: rows (see `harness.data.readers.rows.to_rows`) by split.

    Returns:
        The rows, and one sentence for each split whose labels were converted.
    """
    done, told = dict(frames), []
    for split in ("train", *(name for name in frames if name != "train")):
        known = _without_fractions(set(done["train"]["label"])) if split == "train" else set(done["train"]["label"])
        found = {label: _same(label, known) for label in sorted(set(frames[split]["label"]) - known)}
        renamed = {label: name for label, name in found.items() if name is not None}
        if renamed:
            done[split] = frames[split].assign(
                label=frames[split]["label"].map(lambda label, to=renamed: to.get(label, label))
            )
            pairs = ", ".join([f"{label} as {name}" for label, name in renamed.items()][:MOST])
            told.append(
                f"Training labels that are the same number were read as one: {pairs}."
                if split == "train"
                else f"The {split} labels were read as those of training: {pairs}."
            )
    return done, told


def _without_fractions(labels: set[str]) -> set[str]:
    """If all labels are numbers, return those that are not another label followed by `.0`; else all labels."""
    if not all(isinstance(as_number(label), float) for label in labels):
        return labels
    return {
        label for label in labels if re.sub(r"\.0+$", "", label) == label or re.sub(r"\.0+$", "", label) not in labels
    }


def _same(label: str, known: set[str]) -> str | None:
    words = [word for both in WORDS.values() for word in both]
    if label.casefold() in words:
        found = [each for each in known if each.casefold() == label.casefold()]
    elif re.fullmatch(r"-?\d+(\.0+)?", label):
        found = [each for each in known if re.fullmatch(r"-?\d+(\.0+)?", each) and match(label, [each]) is not None]
    else:
        found = []
    return found[0] if len(found) == 1 else None


def check_classes(labels: pd.Series[str], task: str) -> list[str]:
    """Check whether labels are classes rather than measured values.

    Args:
        labels: labels of the training rows.
        task: name of the task.

    Returns:
        Sentences for the user about labels that may not be classes.

    Raises:
        HarnessError: the labels are clearly not classes.
    """
    different = sorted(set(labels))
    if quoted := [label for label in different if _QUOTED.fullmatch(label)]:
        raise HarnessError(
            f"{len(quoted)} labels of task {task} are enclosed in quotes: {examples(quoted)}. In a CSV file a double "
            "quote encloses a field only where it follows the separator at once: remove what stands between, or the "
            "quotes, or name the classes with task.label_names."
        )
    numbers = [number for label in different if isinstance(number := as_number(_bare(label)), float)]
    if len(numbers) < MOSTLY * len(different) or not all(map(math.isfinite, numbers)):
        return []
    fractions = any(not number.is_integer() for number in numbers)
    looks = (
        f"The label looks numeric ({len(different)} distinct values in {len(labels)} rows of task {task}: "
        f"{examples(different)})"
    )
    if len(different) > MANY_VALUES / (2 if fractions else 1) and len(labels) < FEW_ROWS * len(different):
        raise HarnessError(
            f"{looks}, and classes are needed. Name another column with task.label, or write ranges of the number "
            "(low, middle, high) into a column of their own first."
        )
    if fractions and len(different) > MANY_VALUES:
        return [f"{looks}: each value counts as a class of its own. To predict a number, write ranges of it first."]
    return []


def _bare(label: str) -> str:
    """A number without its unit, and with a point where it has a comma."""
    return re.sub(r"[\s%$€£]", "", label).replace(",", ".")


def describe(label: str) -> str:
    """Convert a class name to plain language.

    `Refund_not_showing_up?` becomes `refund not showing up`, `AddToPlaylist` becomes `add to playlist`, `HTTPError404`
    becomes `http error 404`; `iPhone`, `PDFs`, `mp3` and `2nd` stay one word.
    """
    spaced = re.sub(r"[^\w\s]|_", " ", label)
    return " ".join(" ".join(map(_words, spaced.split())).lower().split()) or label


def _words(token: str) -> str:
    """Insert spaces where a change of case or a number starts a new word."""
    starts = [place for place in range(1, len(token)) if _begins(token, place)]
    return " ".join(token[start:end] for start, end in zip([0, *starts], [*starts, len(token)], strict=True))


def _begins(token: str, place: int) -> bool:
    before, here, after = token[place - 1], token[place], token[place + 1 : place + 2]
    if here.isupper() and before.islower():
        return place > 1  # not the P of iPhone
    if here.isupper() and before.isupper():
        # the E of HTTPError, not the F of PDFs
        return after.islower() and not (after == "s" and not token[place + 2 : place + 3].islower())
    if here.isdigit() and before.isalpha():
        return len(token[:place]) > 2 and token[place - 3 : place].isalpha()  # not the 3 of mp3
    return here.isupper() and before.isdigit() and after.islower()  # the E of 404Error


def described(labels: Sequence[str], given: Mapping[Any, Any] | None) -> tuple[dict[str, str], list[Any]]:
    """Match given descriptions to labels.

    Args:
        labels: the class names.
        given: {label as configured: description}; a description of None keeps the default.

    Returns:
        Descriptions by class name, and keys that are not classes.
    """
    found: dict[str, str] = {}
    unknown = []
    for key, text in (given or {}).items():
        label = match(key, labels)
        if label is None:
            unknown.append(key)
        elif text is not None:
            found[label] = str(text)
    return found, unknown


def unseen(split: str, frame: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Return sentences about labels of a split that do not occur in training."""
    found = sorted(set(frame["label"]) - set(labels))
    counts = frame["label"].value_counts()
    told = [
        f"The {split} label {short(label)} ({counts[label]} row{'s' * (int(counts[label]) > 1)}) does not occur in "
        f"training. {alternatives(label, labels)}"
        for label in found[:MOST]
    ]
    if len(found) > MOST:
        told.append(f"{len(found) - MOST} more {split} labels do not occur in training.")
    return told
