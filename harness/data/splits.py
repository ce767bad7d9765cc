"""Deduplication, few-shot sampling, and splits of data frames; all with seeds of their own.

Frames have the columns of `harness.data.readers.rows.to_rows`. All functions keep the order of the source unless they
say otherwise, and none depends on a run's seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.data import groups
from harness.data.near_copies import near_copies
from harness.errors import HarnessError
from harness.formatting.examples import LONGEST, MOST, short
from harness.records.study_files import GROUP


def normal_form(frame: pd.DataFrame) -> pd.Series[str]:
    """Return the form by which texts are compared: lower case, single spaces; both texts of a pair."""
    columns = [name for name in ("text", "pair") if name in frame]
    folded = [[" ".join(text.lower().split()) for text in frame[name]] for name in columns]
    return pd.Series([" \t ".join(row) for row in zip(*folded, strict=True)], index=frame.index, dtype=object)


def deduplicate(frame: pd.DataFrame) -> tuple[pd.DataFrame, int, int]:
    """Keep the first row of each normal form.

    Returns:
        The kept rows, the number of dropped rows, and the number of texts with more than one label.
    """
    form = normal_form(frame)
    conflicts = int((frame["label"].groupby(form).nunique() > 1).sum())
    kept = frame[~form.duplicated()]
    return kept, len(frame) - len(kept), conflicts


def overlap(frame: pd.DataFrame, other: pd.DataFrame) -> int:
    """Count the rows of `frame` whose normal form occurs in `other`."""
    return int(normal_form(frame).isin(set(normal_form(other))).sum())


NEAR = (("near_copies_train_test", "test", "training"), ("near_copies_train_validation", "validation", "training"))


def overlaps(
    train: pd.DataFrame, validation: pd.DataFrame | None, test: pd.DataFrame, texts: bool = True
) -> dict[str, int]:
    """Count, for the facts, the rows of evaluated splits that are rows or near-copies of rows of another split.

    Args:
        train, validation, test: the splits.
        texts: whether rows are texts; what is no text has no near-copies.
    """
    near = [
        0 if frame is None or not texts else near_copies(normal_form(frame).tolist(), normal_form(train).tolist())
        for frame in (test, validation)
    ]
    return {
        "overlap_train_test": overlap(test, train),
        "overlap_validation_test": 0 if validation is None else overlap(test, validation),
        "overlap_train_validation": 0 if validation is None else overlap(validation, train),
        **{key: count for (key, *_), count in zip(NEAR, near, strict=True)},
    }


def draw_shots(frame: pd.DataFrame, shots: int, draw: int) -> pd.DataFrame:
    """Draw `shots` rows per class, ordered by class.

    DNNC's published few-shot rows of BANKING77 (Zhang et al. 2020, arXiv:2010.13009) equal this draw with shots 10 and
    draw 0, so its results can be compared.

    Raises:
        HarnessError: a class has fewer rows than `shots`.
    """
    counts = frame["label"].value_counts()
    if small := [f"{label} ({counts[label]})" for label in sorted(counts.index) if counts[label] < shots]:
        raise HarnessError(
            f"task.shots={shots} needs {shots} training rows of every class; fewer have {_list(small)}. Set task.shots "
            f"to at most {counts.min()}, or add rows."
        )
    return frame.groupby("label").sample(shots, random_state=draw)


def hold_out(frame: pd.DataFrame, fraction: float, seed: int, purpose: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold out a stratified fraction of the rows.

    Args:
        frame: the rows.
        fraction: the fraction to hold out.
        seed: seed of the split.
        purpose: `validation` or `test`, for messages.

    Returns:
        The remaining rows and the held-out rows.

    Raises:
        HarnessError: a class has a single row, or a part would have fewer rows than there are classes.
    """
    from sklearn.model_selection import train_test_split

    of_rows = groups.of_frame(frame)
    counts = frame["label"].value_counts()
    if small := [str(label) for label in sorted(counts.index) if counts[label] < 2]:
        doubt = " Is task.label the column of the labels?" if len(small) > max(10, len(counts) / 2) else ""
        raise HarnessError(
            f"Holding out {purpose} rows needs at least 2 rows of every class, equal texts counted once; one has "
            f"{_list(small)}. Add rows, or give a {purpose} split of your own (task.{purpose}_path).{doubt}"
        )
    held = -int(-len(frame) * fraction // 1)  # rounded up, as scikit-learn does
    if min(held, len(frame) - held) < len(counts):
        raise HarnessError(
            f"task.{purpose}_fraction={fraction} of {len(frame)} rows leaves {held} for {purpose} and "
            f"{len(frame) - held} for training, and each needs at least one for each of the {len(counts)} classes. "
            f"Change the fraction, add rows, or give a {purpose} split of your own (task.{purpose}_path)."
        )
    if of_rows is not None:
        out = groups.hold_out(of_rows, frame["label"], fraction, seed, purpose)
        return frame[~out], frame[out]
    rest, out = train_test_split(frame, test_size=held, random_state=seed, stratify=frame["label"])
    return rest.sort_index(), out.sort_index()


def draw_pool(frame: pd.DataFrame, shots: pd.DataFrame, test: pd.DataFrame, per_class: int, draw: int) -> pd.DataFrame:
    """Draw validation rows from the rows of the training file that are not shots.

    Args:
        frame: all rows of the training file.
        shots: the training rows.
        test: the test rows; texts and groups that occur in them or in the shots are excluded.
        per_class: maximum number of rows per class.
        draw: the seed.

    Raises:
        HarnessError: no rows remain.
    """
    form = normal_form(frame)
    taken = {*normal_form(shots), *normal_form(test)}
    rest = frame[~form.isin(taken) & ~form.duplicated()]
    beyond = ""
    if GROUP in frame:
        beyond = " of other groups (task.group)"
        rest = rest[~rest[GROUP].isin({*shots[GROUP], *test[GROUP]})]
    if rest.empty:
        raise HarnessError(
            f"task.validation=pool takes training rows beyond the shots{beyond}, and there are none. Set "
            "task.validation=kfold, or give a validation split (task.validation_path)."
        )
    return rest.sample(frac=1, random_state=draw).groupby("label").head(per_class).sort_index()


def make_folds(frame: pd.DataFrame, folds: int, seed: int) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Make stratified (train, validation) pairs; each row is in exactly one validation part.

    Raises:
        HarnessError: a class has fewer rows than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    if (of_rows := groups.of_frame(frame)) is not None:
        made = groups.folds(of_rows, frame["label"], folds, seed)
        return [(frame.iloc[train], frame.iloc[held]) for train, held in made]
    counts = frame["label"].value_counts()
    if small := [f"{label} ({counts[label]})" for label in sorted(counts.index) if counts[label] < folds]:
        raise HarnessError(
            f"task.folds={folds} needs {folds} training rows of every class; fewer have {_list(small)}. Set task.folds "
            f"to at most {counts.min()}, or choose task.validation=split or pool."
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [(frame.iloc[train], frame.iloc[held]) for train, held in splitter.split(frame, frame["label"])]


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(name if len(name) <= LONGEST + 10 else short(name) for name in names[:MOST]) + more
