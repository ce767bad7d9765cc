"""The committed example: its frozen records still give its table, and no text of the data set is in it."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from harness.report.definition import Definition
from harness.report.write import write
from tests.small import ROOT

EXAMPLE = ROOT / "reports" / "banking77-10shot"


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("example")
    write(EXAMPLE / "study.zip", output, definition=Definition(settings={"examples": False}))
    return output


def test_the_table_is_made_again(again: Path) -> None:
    """What a change of the statistics does to a real table is seen in review; last digits are the machine's."""
    now, published = (list(csv.reader((folder / "table.csv").open(newline=""))) for folder in (again, EXAMPLE))
    assert len(now) == len(published)
    for row, known in zip(now, published, strict=True):
        assert [_value(text) for text in row] == [_near(_value(text)) for text in known]


def _near(value: float | str) -> Any:
    return value if isinstance(value, str) else pytest.approx(value, rel=1e-9)


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def test_enough_methods_and_seeds(again: Path) -> None:
    """Eight methods or more; every one at five seeds or more."""
    with (again / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 8 and all(int(row["n_seeds"]) >= 5 for row in rows)
    assert all(row["status"] == "ok" and row["verdict"] for row in rows)


def test_no_texts(again: Path) -> None:
    """Neither the page that is published nor the one made now shows a text of the data set."""
    pages = [(folder / "index.html").read_text() for folder in (again, EXAMPLE)]
    if not (data := os.environ.get("HARNESS_DATA")):
        pytest.skip("HARNESS_DATA names no directory with banking77/test.csv")
    with (Path(data) / "banking77" / "test.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert not [text for text in texts for page in pages if len(text) > 20 and text in page]
