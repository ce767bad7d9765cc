"""Rows that belong together (`task.group`), such as those of one customer: splits that keep groups whole, and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import HarnessError, Problems
from harness.formatting.examples import examples, short
from harness.records.study_files import GROUP

LEAST_TESTED = 2  # groups of a test split: one tells nothing of others
MOST = 2.0  # times the wanted rows that held-out groups may have
FAR = 0.25  # relative difference from the wanted size of a split from which on it is told

Groups = npt.NDArray[Any]  # (n,) the group of each row


def of_frame(frame: pd.DataFrame) -> Groups | None:
    """Return the group of each row; None if the task names no groups."""
    return frame[GROUP].to_numpy(dtype=object) if GROUP in frame else None


def check(groups: Mapping[str, Groups]) -> None:
    """Refuse splits of the source whose rows all belong to one group.

    Args:
        groups: by the name of a given split.

    Raises:
        HarnessError: names these splits.
    """
    problems = Problems()
    for split, of_rows in groups.items():
        problems.check(
            split == "validation" or len(set(of_rows)) >= LEAST_TESTED,
            f"task.group: all {len(of_rows)} {split} rows belong to the group {short(of_rows[0])}, and nothing can be "
            "said of other groups. Name a column with several values, or leave task.group out.",
        )
    problems.raise_any()


def hold_out(
    groups: Groups, classes: Sequence[Any] | pd.Series[Any] | None, fraction: float, seed: int, purpose: str
) -> npt.NDArray[np.bool_]:
    """Draw whole groups with about a fraction of the rows, and of the rows of each class.

    Groups are met in a random order, so that size plays no part, and one is drawn if that brings the drawn rows nearer
    to what is wanted. If these are too few or too large, the smallest are drawn. The rest keeps a group of every class.

    Args:
        groups: (n,) the group of each row.
        classes: of the rows; None if there are none.
        fraction: of the rows.
        seed: of the order.
        purpose: `validation` or `test`, for messages.

    Returns:
        (n,) whether a row is held out.

    Raises:
        HarnessError: there are too few groups, or they are too large for that fraction.
    """
    names, of_row = np.unique(groups.astype(str), return_inverse=True)
    kinds, of_class = np.unique(np.zeros(len(groups)) if classes is None else np.asarray(classes), return_inverse=True)
    cells, counts = np.unique(of_row * len(kinds) + of_class, return_counts=True)
    members: list[list[tuple[int, int]]] = [[] for _ in names]  # (class, rows) of each group
    for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
        members[cell // len(kinds)].append((cell % len(kinds), count))
    sizes, of_class_groups = np.bincount(of_row), np.bincount(cells % len(kinds))
    wanted = (np.bincount(of_class) * fraction).tolist()
    needed = LEAST_TESTED if purpose == "test" else 1
    order = np.random.default_rng(seed).permutation(len(names))
    drawn = _drawn(order, members, of_class_groups, wanted, len(names))
    if drawn.sum() < needed or sizes[drawn].sum() > MOST * sum(wanted):
        drawn = _drawn(np.argsort(sizes, kind="stable"), members, of_class_groups, None, needed)
    _check_drawn(sizes, drawn, needed, fraction, purpose)
    return drawn[of_row]


def _drawn(
    order: npt.NDArray[np.intp],
    members: Sequence[Sequence[tuple[int, int]]],
    of_class: npt.NDArray[np.intp],
    wanted: Sequence[float] | None,
    most: int,
) -> npt.NDArray[np.bool_]:
    """Draw groups in order, while every class keeps one.

    Args:
        order: the G groups.
        members: (class, rows) of each group.
        of_class: number of groups of each class.
        wanted: rows of each class; a group is drawn if that brings the drawn ones nearer to them. None: every group is.
        most: groups that are drawn.
    """
    drawn = np.zeros(len(order), dtype=bool)
    missing, left = list(wanted or ()), of_class.tolist()
    for group in order.tolist():
        own = members[group]
        if wanted is not None and sum(rows * (rows - 2 * missing[kind]) / wanted[kind] for kind, rows in own) >= 0:
            continue
        if most > 0 and all(left[kind] > 1 for kind, _ in own):
            drawn[group] = True
            most -= 1
            for kind, rows in own:
                left[kind] -= 1
                if wanted is not None:
                    missing[kind] -= rows
    return drawn


def _check_drawn(
    sizes: npt.NDArray[np.intp], drawn: npt.NDArray[np.bool_], needed: int, fraction: float, purpose: str
) -> None:
    rows, count = int(sizes[drawn].sum()), int(sizes.sum())
    own = f"name a column with smaller groups, or give a {purpose} split of your own (task.{purpose}_path)"
    if drawn.sum() < needed:
        raise HarnessError(
            f"task.group: {len(sizes)} groups are too few to hold out {purpose} rows: {needed} "
            f"{'is' if needed == 1 else 'are'} needed for {purpose}, and one of every class for training. Add rows, "
            f"{own}."
        )
    if rows > MOST * fraction * count:
        raise HarnessError(
            f"task.group: groups of {sizes.min()} to {sizes.max()} rows are too large for "
            f"task.{purpose}_fraction={fraction} of {count} rows; the {needed} smallest that can be held out have "
            f"{rows}. Set task.{purpose}_fraction={np.ceil(100 * rows / count) / 100:g}, {own}."
        )


def folds(
    groups: Groups, classes: Sequence[Any] | pd.Series[Any] | None, count: int, seed: int
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Make (train, validation) pairs of row indices; each group is in exactly one validation part.

    Raises:
        HarnessError: there are fewer groups than folds, or a class would be missing from a training part.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    found = len(set(groups))
    if found < count:
        raise HarnessError(
            f"task.folds={count} needs {count} groups of training rows, and task.group gives {found}. "
            + (f"Set task.folds to at most {found}, or name" if found > 1 else "Name")
            + " a column with smaller groups."
        )
    kinds = np.zeros(len(groups), dtype=int) if classes is None else np.asarray(classes)
    spread = pd.Series(groups).groupby(kinds).nunique()
    if single := [str(kind) for kind in spread.index if spread[kind] < LEAST_TESTED]:
        raise HarnessError(
            f"task.validation=kfold needs every class in two groups or more; task.group puts all rows of "
            f"{examples(single)} into one. Name a column with smaller groups, or choose task.validation=split."
        )
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    made = list(splitter.split(np.zeros(len(groups)), kinds, groups.astype(str)))
    every = set(kinds.tolist())
    if any(len(held) == 0 or set(kinds[rest].tolist()) < every for rest, held in made):
        raise HarnessError(
            f"task.folds={count}: groups are so large that a fold would have no rows, or leave a class without "
            "training rows. Lower task.folds, or choose task.validation=split."
        )
    return made


def content(groups: Groups | None) -> list[list[str]]:
    """Return what the fingerprint of a split gets besides its rows; [] without groups, as before there were any."""
    return [] if groups is None else [groups.tolist()]


def facts_of(splits: Mapping[str, Groups | None]) -> dict[str, Any]:
    """Return the number of groups of each split; {} if the task names none."""
    known = {name: groups for name, groups in splits.items() if groups is not None}
    return {"groups": {name: len(set(groups)) for name, groups in known.items()}} if known else {}


def notes(splits: Mapping[str, Groups | None], wanted: Mapping[str, float]) -> list[str]:
    """Return sentences for the user.

    Args:
        splits: the groups of the rows of each split, `train` and `test` among them; None where it has no groups.
        wanted: rows that a held-out split was to have, by its name.
    """
    known = {name: groups for name, groups in splits.items() if groups is not None}
    if not known:
        return []
    told = []
    if all(len(set(groups)) == len(groups) for groups in known.values()):
        told.append("task.group gives every row a group of its own, so it joins nothing: is it the right column?")
    for one, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
        if one in known and other in known and (shared := set(known[one]) & set(known[other])):
            rows = int(np.isin(known[one].astype(str), [str(group) for group in shared]).sum())
            others = "training" if other == "train" else other
            told.append(
                f"{len(shared)} of {len(set(known[one]))} {one} groups ({rows} of {len(known[one])} rows) are {others} "
                f"groups, too, in the splits as they are given: {one} scores are those of groups that are known."
            )
    for name, size in wanted.items():
        if name in known and abs(len(known[name]) - size) > FAR * size + 1:
            told.append(
                f"Groups stay whole, so {len(known[name])} rows are held out for {name} in place of {size:.0f}."
            )
    return told
