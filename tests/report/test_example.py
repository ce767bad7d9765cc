"""The committed reports: their frozen records still give their tables, and no text of the data set is in them."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from harness.report.tables.definition import read_definition
from harness.report.write import write
from tests.helpers.small_dataset import ROOT

DRAWN = ("p_best", "p_within", "regret")
EXAMPLES = {"banking77-10shot": (8, 5), "banking77-methods": (41, 3)}  # least rows, and seeds of each
STOPPED = {"banking77-methods"}  # after a look, so more seeds are wanted


@pytest.fixture(scope="module", params=EXAMPLES)
def published(request: pytest.FixtureRequest) -> Path:
    return ROOT / "reports" / str(request.param)


@pytest.fixture(scope="module")
def again(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("example")
    write(sorted(published.glob("*.zip")), output, definition=read_definition(published / "definition.yaml"))
    return output


def test_the_table_is_made_again(again: Path, published: Path) -> None:
    """What a change of the statistics does to a real table is seen in review; last digits are the machine's."""
    now, then = (list(csv.reader((folder / "table.csv").open(newline=""))) for folder in (again, published))
    assert len(now) == len(then)
    heads = then[0]
    for row, known in zip(now, then, strict=True):
        own = row[: len(known)]  # columns of later versions follow at the end
        assert [_value(text) for text in own] == [
            _near(_value(text), head) for text, head in zip(known, heads, strict=True)
        ]


def _near(value: float | str, head: str) -> Any:
    if isinstance(value, str):
        return value
    # Random draws go through a decomposition whose signs are the library's.
    return pytest.approx(value, abs=0.02) if head in DRAWN else pytest.approx(value, rel=1e-9)


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def test_enough_methods_and_seeds(again: Path, published: Path) -> None:
    """Each report has the methods and seeds that it is said to have, and a verdict on every one."""
    methods, seeds = EXAMPLES[published.name]
    with (again / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= methods and all(int(row["n_seeds"]) >= seeds for row in rows)
    states = {"ok", "partial"} if published.name in STOPPED else {"ok"}
    assert all(row["status"] in states and row["verdict"] for row in rows)


def test_no_texts(again: Path, published: Path) -> None:
    """Neither the page that is published nor the one made now shows a text of the data set."""
    pages = [(folder / "index.html").read_text() for folder in (again, published)]
    if not (data := os.environ.get("HARNESS_DATA")):
        pytest.skip("HARNESS_DATA names no directory with banking77/test.csv")
    with (Path(data) / "banking77" / "test.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert not [text for text in texts for page in pages if len(text) > 20 and text in page]
