"""Users and histories for prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.readers.file_formats import Table
from harness.data.readers.whole_table import read_texts
from harness.errors import HarnessError
from harness.formatting.examples import examples

SEPARATOR = "; "  # between items in a text


def histories_of(
    rows: Sequence[Any], items: Sequence[str], known: Mapping[str, Sequence[int]]
) -> list[npt.NDArray[np.int64]]:
    """Return the items of each row, the earliest first.

    Args:
        rows: each a list of items; or a text: the name of a known user, a JSON list of items, or items with `;`
            between.
        items: names of all items.
        known: items of the users of training.

    Raises:
        HarnessError: a row is neither; names the first three.
    """
    place = {name: index for index, name in enumerate(items)}
    found, unknown, empty = list[npt.NDArray[np.int64]](), dict[str, int](), list[int]()
    for number, row in enumerate(rows, 1):
        if isinstance(row, str) and row in known:
            found.append(np.asarray(known[row], dtype=np.int64))
            continue
        named = _items(row)
        if not named:
            empty.append(number)
        for name in named:
            if name not in place:
                unknown.setdefault(name, number)
        found.append(np.array([place[name] for name in named if name in place], dtype=np.int64))
    if empty:
        raise HarnessError(
            f"{len(empty)} of {len(rows)} rows have no item (rows {', '.join(map(str, empty[:3]))}), and what a user "
            "without a history wants is unknown: leave them out."
        )
    if unknown:
        users = "a user of training, " if known else ""
        raise HarnessError(
            f"{len(unknown)} names in {len(rows)} rows are neither {users}nor an item that the model knows: "
            f"{examples(list(unknown))} (first in row {min(unknown.values())}). A row is a user's name, or items, the "
            f"latest last: {items[0]}{SEPARATOR}{items[-1]}. Leave items out that are new since training."
            + ("" if known else " The model was saved with task.keep_users=false and knows no users.")
        )
    return found


def read_rows(
    file: Path, columns: Sequence[str], how: Mapping[str, Any], items: Sequence[str], known: Mapping[str, Sequence[int]]
) -> tuple[Table, list[list[Any]]]:
    """Return the columns of the file, and the rows to predict for; see `histories_of`.

    Raises:
        HarnessError: the file cannot be read, or a row is no user and no history.
    """
    table, texts = read_texts(file, columns, how)
    histories_of(texts[0], items, known)
    return table, [list(texts[0])]


def example_history(facts: Mapping[str, Any]) -> str:
    """Return a history of one item that the model knows; see `harness.api.family.TaskFamily.example`."""
    return repr([[facts["items"][0]]])


def _items(row: Any) -> list[str]:
    if isinstance(row, str):
        text = row.strip()
        if text.startswith("["):
            try:
                row = json.loads(text)
            except ValueError:
                return [text]
        else:
            row = [part.strip() for part in text.split(";")]
    if not isinstance(row, list | tuple):
        row = [row]
    return [str(each) for each in row if str(each) != ""]
