"""Texts of whole files for prediction: the readers of training, every column kept, written as it was."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.data.readers.whole_table import read_texts, write_table
from harness.errors import HarnessError
from tests.helpers.text_tasks import Write

ROWS = {"id": ["-7", "007", "+3"], "text": ["great, really", "=cmd|x", "è 好"], "score": ["-3.2", "1e-5", "-"]}
FRAME = pd.DataFrame(ROWS)


def complaint(path: Path, **how: Any) -> str:
    with pytest.raises(HarnessError) as caught:
        read_texts(path, ["text"], how)
    return str(caught.value)


def test_every_format_of_training_is_read(write: Write) -> None:
    """With the same options; all columns, rows in order."""
    csv = FRAME.to_csv(index=False)
    tabs = FRAME.to_csv(index=False, sep="\t")
    files: list[tuple[str, str | bytes, dict[str, Any]]] = [
        ("a.csv", csv, {}),
        ("b.csv", FRAME.to_csv(index=False, sep=";"), {"separator": ";"}),
        ("c.tsv", tabs, {}),
        ("d.csv", tabs, {"separator": "tab"}),
        ("e.jsonl", FRAME.to_json(orient="records", lines=True), {}),
        ("f.json", FRAME.to_json(), {}),
        ("g.csv", csv.encode("utf-16"), {"encoding": "utf-16"}),
        ("h.csv.gz", gzip.compress(csv.encode()), {}),
        ("i.parquet", FRAME.to_parquet(), {}),
        ("j.csv", "sep=;\n" + FRAME.to_csv(index=False, sep=";"), {}),
        ("k.csv", FRAME.to_csv(index=False, header=False), {"columns": list(ROWS)}),
        ("l.csv", FRAME.to_parquet(), {}),
        ("m.csv", "\ufeff" + csv, {}),
    ]
    for name, content, how in files:
        table, texts = read_texts(write(name, content), ["text"], how)
        assert dict(zip(table.names, table.columns, strict=True)) == ROWS, name
        assert texts == [ROWS["text"]], name
    lines = write("n.txt", "one text\n\nanother\n")
    assert read_texts(lines, ["text"], {"format": "lines", "columns": ["text"]})[1] == [["one text", "another"]]
    labelled = write("o.txt", "x\tone text\ny\tanother\tone\n")
    how = {"format": "lines", "columns": ["label", "text"]}
    assert read_texts(labelled, ["text"], how)[1] == [["one text", "another\tone"]]


def test_missing_texts_keep_their_rows(write: Write) -> None:
    """An empty cell is an empty text; numbers in the place of texts are refused."""
    path = write("a.jsonl", '{"text": "a"}\n{"text": null}\n{"other": 1}\n{"text": ""}\n')
    assert read_texts(path, ["text"], {})[1] == [["a", "", "", ""]]
    assert "2 of 2 rows hold no text in column 'text'" in complaint(write("b.jsonl", '{"text": 1}\n{"text": [2]}\n'))
    assert "half a character" in complaint(write("c.jsonl", '{"text": "\\ud83d"}\n'))


def test_messages_speak_of_options(write: Write) -> None:
    """What to do is said in the command's own options."""
    for path, told in (
        (write("a.csv", "text;id\na;1\n"), "--separator ';'"),
        (write("b.csv", "text\tid\na\t1\n"), "--separator tab"),
        (write("c.csv", "text\ncafé\n".encode("cp1252")), "--encoding cp1252"),
        (write("d.dat", "text\na\n"), "--format to one of"),
        (write("e.csv", 'text\n"a" b\n'), "--no-quoting"),
        (write("f.csv", "message\na\n"), "Choose with --text COLUMN"),
        (write("g.csv", "text\n"), "has no rows"),
        (write("i.json", '{"images": [{"a": 1}], "annotations": [{"b": 2}]}'), "Write each into a file of its own"),
    ):
        message = complaint(path)
        assert told in message and "task." not in message, message
    assert "is not an encoding of text files" in complaint(write("h.csv", "text\na\n"), encoding="base64")
    assert "must be one character" in complaint(write("h.csv", "text\na\n"), separator="::")


def test_numbers_are_no_formulas(tmp_path: Path) -> None:
    """A text that a spreadsheet would execute gets an apostrophe; numbers, dates and everything else stay."""
    numbers: list[Any] = ["-7", "-3.2", "+1e5", "-1,000.5", "-12 %", "-.5", "- a list"]
    values = [*numbers, "=1+1", "+49 30 x", "@x", -7, -3.2, None, True, {"a": 1}, "\t=x"]
    write_table(tmp_path / "a.csv", ["value", "-name"], [values, ["x"] * len(values)])
    table = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    assert list(table) == ["value", "'-name"]
    assert table["value"].tolist() == [
        "-7", "-3.2", "+1e5", "-1,000.5", "-12 %", "-.5", "'- a list", "'=1+1", "'+49 30 x", "'@x", "-7", "-3.2", "",
        "true", '{"a": 1}', "'\t=x",
    ]  # fmt: skip
    write_table(tmp_path / "a.jsonl", ["value"], [values])
    read = [json.loads(line)["value"] for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert read == values
    with pytest.raises(HarnessError, match="values of several types"):
        write_table(tmp_path / "a.parquet", ["value"], [values])
    write_table(tmp_path / "b.parquet", ["value"], [[1, None, -7]])
    assert pd.read_parquet(tmp_path / "b.parquet")["value"].tolist()[::2] == [1, -7]
    assert not list(tmp_path.glob("a.parquet*"))
