"""Held-out rows, shots and folds of rows that have no classes. Those of rows with classes: `harness.data.splits`."""

from __future__ import annotations

import pandas as pd

from harness.data import groups
from harness.errors import HarnessError

LEAST_ROWS = 2  # of each split: one row has no spread


def hold_out(
    frame: pd.DataFrame, fraction: float, seed: int, purpose: str, noun: str = "rows"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold out a random fraction of the rows, or of their groups.

    Args:
        frame: the rows.
        fraction: the fraction to hold out.
        seed: seed of the split.
        purpose: `validation` or `test`, for messages.
        noun: what the rows are called in messages.

    Returns:
        The remaining rows and the held-out rows.

    Raises:
        HarnessError: a part would have fewer than `LEAST_ROWS` rows.
    """
    from sklearn.model_selection import train_test_split

    held = -int(-len(frame) * fraction // 1)  # rounded up, as scikit-learn does
    if min(held, len(frame) - held) < LEAST_ROWS:
        raise HarnessError(
            f"task.{purpose}_fraction={fraction} of {len(frame)} {noun}, equal ones counted once, leaves {held} for "
            f"{purpose} and {len(frame) - held} for training, and each needs at least {LEAST_ROWS}. Change the "
            f"fraction, add {noun}, or give a {purpose} split of your own (task.{purpose}_path)."
        )
    if (of_rows := groups.of_frame(frame)) is not None:
        out = groups.hold_out(of_rows, None, fraction, seed, purpose)
        return frame[~out], frame[out]
    rest, out = train_test_split(frame, test_size=held, random_state=seed)
    return rest.sort_index(), out.sort_index()


def draw_shots(frame: pd.DataFrame, shots: int, draw: int, noun: str = "rows") -> pd.DataFrame:
    """Draw `shots` rows, in their order.

    Raises:
        HarnessError: there are fewer.
    """
    if shots > len(frame):
        raise HarnessError(f"task.shots={shots} exceeds the {len(frame)} training {noun}: lower it, or add {noun}.")
    return frame.sample(shots, random_state=draw).sort_index()


def make_folds(
    frame: pd.DataFrame, folds: int, seed: int, noun: str = "rows"
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Divide rows, or their groups, into folds: for each the remaining rows and its own.

    Raises:
        HarnessError: a fold would have fewer than `LEAST_ROWS` rows.
    """
    from sklearn.model_selection import KFold

    if len(frame) < LEAST_ROWS * folds:
        raise HarnessError(
            f"task.folds={folds} needs {LEAST_ROWS * folds} training {noun}, and there are {len(frame)}. Set "
            f"task.folds to at most {max(len(frame) // LEAST_ROWS, 2)}, or choose task.validation=split."
        )
    if (of_rows := groups.of_frame(frame)) is not None:
        return [(frame.iloc[rest], frame.iloc[held]) for rest, held in groups.folds(of_rows, None, folds, seed)]
    splitter = KFold(folds, shuffle=True, random_state=seed)
    return [(frame.iloc[train], frame.iloc[held]) for train, held in splitter.split(frame)]


def selected_with(validation: pd.DataFrame | None, given: bool, folds: int) -> str:
    """Describe the rows that choose among trials.

    Args:
        validation: the validation rows; None: folds of the training rows.
        given: whether the source gives them.
        folds: number of folds.
    """
    if validation is None:
        return f"selected in {folds} folds of the training rows"
    origin = "given validation rows" if given else "rows held out of the training rows"
    return f"selected on {len(validation)} {origin}"
