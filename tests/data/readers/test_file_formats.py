"""Files of every format, and what is said about those that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from harness.data.readers.file_formats import FileFormat, read_file
from harness.errors import HarnessError
from tests.helpers.text_tasks import Write

TEXTS = ["a, quoted", "zwei\nZeilen", 'the "best"', "NA"]
LABELS = ["x", "y", "x", "null"]
COLUMNS = {"text": TEXTS, "label": LABELS}


def read(path: Path, **how: Any) -> dict[str, list[Any]]:
    return read_file(path, ["text", "label"], FileFormat(**how))


def complaint(path: Path, **how: Any) -> str:
    with pytest.raises(HarnessError) as caught:
        read(path, **how)
    return str(caught.value)


def test_delimited_text_is_read_as_it_stands(tmp_path: Path) -> None:
    """Quoted separators, line breaks and quotes survive, and texts that spell NA or null are no missing values."""
    frame = pd.DataFrame(COLUMNS)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_csv(tmp_path / "rows.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "rows.txt", index=False, sep=";")
    assert read(tmp_path / "rows.csv") == COLUMNS
    assert read(tmp_path / "rows.tsv") == COLUMNS
    assert read(tmp_path / "rows.txt", format="csv", separator=";") == COLUMNS


def test_other_formats_are_read(tmp_path: Path, write: Write) -> None:
    """JSONL, JSON, Parquet and both Arrow forms give the same columns."""
    frame = pd.DataFrame(COLUMNS)
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "rows.json", orient="records")
    table = pa.Table.from_pandas(frame)
    with pa.OSFile(str(tmp_path / "stream.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(tmp_path / "file.feather"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("rows.parquet", "rows.jsonl", "rows.json", "stream.arrow", "file.feather"):
        assert read(tmp_path / name) == COLUMNS, name


def test_arff_with_strings_quotes_and_missing_values(write: Write) -> None:
    """String attributes are read, quoted values may hold commas and quotes, a question mark is a missing value."""
    path = write(
        "rows.arff",
        "% made by hand\n@RELATION r\n@ATTRIBUTE text STRING\n"
        "@attribute 'a number' NUMERIC\n@attribute label {x,'y z'}\n"
        "@DATA\n'it\\'s, well',1.5,x\n\"two\", 2 ,'y z'\n% no row\n?,3,x\n",
    )
    assert read(path) == {"text": ["it's, well", "two", None], "label": ["x", "y z", "x"]}
    assert read_file(path, ["a number"], FileFormat()) == {"a number": ["1.5", "2", "3"]}


def test_lines_are_cut_where_the_label_stands(write: Write) -> None:
    """A text may hold the separator, wherever the label is."""
    last = write("last.txt", "mail me @home@good\nplain@bad\n")
    assert read(last, format="lines", separator="@", columns=["text", "label"]) == {
        "text": ["mail me @home", "plain"],
        "label": ["good", "bad"],
    }
    first = write("first.txt", 'ham\t"hi\tthere\r\nspam\twin\r\n')
    assert read(first, format="lines", columns=["label", "text"]) == {
        "text": ['"hi\tthere', "win"],
        "label": ["ham", "spam"],
    }


def test_a_spreadsheets_file_is_read(write: Write) -> None:
    """A byte order mark, spaces around column names, blank lines and Windows line ends do no harm."""
    path = write("sheet.csv", b"\xef\xbb\xbftext, label\r\na,x\r\n\r\nb,y\r\n")
    assert read(path) == {"text": ["a", "b"], "label": ["x", "y"]}


def test_a_missing_file_names_its_neighbours(write: Write, tmp_path: Path) -> None:
    """The nearest file name is offered, and what else the folder holds."""
    write("reviews.csv", "text,label\n")
    write("notes.md", "x")
    message = complaint(tmp_path / "review.csv")
    assert message.startswith(f"There is no file {tmp_path / 'review.csv'}. Did you mean reviews.csv? ")
    assert "Files there: reviews.csv, notes.md." in message
    assert "Its folder" in complaint(tmp_path / "nowhere" / "x.csv")
    assert "is a folder, and a file is needed." in complaint(tmp_path)


def test_empty_files(write: Write) -> None:
    """Neither nothing nor a header alone is data."""
    assert "empty.csv is empty" in complaint(write("empty.csv", ""))
    for name, content in (("h.csv", "text,label\n"), ("h.jsonl", "\n"), ("h.json", "[]"), ("blank.csv", "\n\n")):
        assert f"{name} holds no rows" in complaint(write(name, content))


def test_a_missing_column_names_the_others(write: Write) -> None:
    """The nearest column comes first; a header in one piece points to the separator."""
    message = complaint(write("rows.csv", "Text,topic\na,x\n"))
    assert "rows.csv has no column 'text'." in message
    assert "rows.csv has no column 'label'." in message
    assert "Known: Text, topic. Choose with task.text and task.label." in message
    assert "The header looks separated by ';': set 'task.separator=\";\"'." in complaint(
        write("s.csv", "text;label\na;x\n")
    )
    assert "looks separated by ';'" in complaint(write("q.csv", 'text;label\n"a; b";"x"\n'))
    frame = pd.DataFrame({"sentence": ["a"], "labels": ["x"]})
    path = write("rows.parquet", frame.to_parquet())
    assert "Did you mean labels? Known: labels, sentence." in complaint(path)


def test_a_wrong_encoding_says_where_and_what_fits(write: Write) -> None:
    """The byte, its place and encodings that do decode the file are named."""
    message = complaint(write("rows.csv", "text,label\ngood,x\ncafé,y\n".encode("latin-1")))
    assert "rows.csv is not utf-8: at 1 place it cannot be decoded: byte 0xe9 at position 21 (line 3)." in message
    assert "It can be read as cp1252 (there: 'café,y'), " in message and "set task.encoding=cp1252 if" in message
    assert "latin-1" not in message
    assert "utf-16" in complaint(write("wide.csv", "text,label\na,x\n".encode("utf-16")))
    ascii_only = complaint(write("plain.csv", "text,label\ncafé,y\n"), encoding="ascii")
    assert "It can be read as utf-8" in ascii_only


def test_an_unknown_format_names_the_known_ones(write: Write) -> None:
    """A suffix that says nothing asks for task.format."""
    message = complaint(write("rows.xlsx", "x"))
    assert message.startswith("The suffix of rows.xlsx does not say its format: set task.format to one of csv, tsv,")
    assert complaint(write("rows.csv", "x"), format="xls").startswith("Unknown format xls: set task.format")


def test_ragged_rows_and_stray_quotes(write: Write) -> None:
    """The line is named, and the way to mend it."""
    message = complaint(write("rows.csv", "text,label\na,x\nb, and more,y\n"))
    assert "rows.csv, line 3: 3 fields where 2 are expected. The separator is ',' (task.separator)." in message
    assert "must be enclosed in double quotes" in message
    message = complaint(write("quotes.tsv", 'text\tlabel\n"open\tx\nb\ty\n'))
    assert "quotes.tsv, line 3: unexpected end of data." in message
    assert "set task.quoting=false" in message
    path = write("quotes.tsv", 'text\tlabel\n"open\tx\nb\ty\n')
    assert read(path, quoting=False)["text"] == ['"open', "b"]
    assert "must be one character" in complaint(path, separator="::")


def test_lines_without_separator_or_names(write: Write) -> None:
    """Both say what is missing."""
    path = write("rows.txt", "good@x\nbad\nugly\n")
    message = complaint(path, format="lines", separator="@", columns=["text", "label"])
    assert message == "rows.txt: 2 of 3 lines lack the separator '@': line 2, 3. Set task.separator, or correct them."
    assert "task.columns=[text,label] or task.columns=[label,text], not []." in complaint(path, format="lines")


def test_damaged_files(write: Write) -> None:
    """A file that is not what its name says is told so, with the line where there are lines."""
    broken = json.dumps({"text": "a", "label": "x"}) + "\n{broken\n"
    assert "rows.jsonl, line 2 is not valid JSON" in complaint(write("rows.jsonl", broken))
    assert "rows.json is not valid JSON" in complaint(write("rows.json", "[{]"))
    assert "rows.json: 1 rows are not JSON objects: rows 2." in complaint(write("rows.json", '[{"text": "a"}, 3]'))
    assert "rows.parquet is not a readable parquet file" in complaint(write("rows.parquet", b"PAR1 and nonsense"))
    assert "rows.arrow is not a readable arrow file" in complaint(write("rows.arrow", b"\xfe\xff nonsense"))
    assert "rows.arrow is a text file, not arrow" in complaint(write("rows.arrow", b"nonsense and more of it"))
    assert "rows.arff is not ARFF" in complaint(write("rows.arff", "text,label\n"))
    arff = "@relation r\n@attribute text string\n@attribute label {x}\n@data\n"
    assert "rows.arff, line 5: 1 values where 2 attributes" in complaint(write("rows.arff", arff + "'a'\n"))
    assert "rows.arff, line 5: cannot be parsed" in complaint(write("rows.arff", arff + "'a' b,x\n"))
    assert "sparse ARFF data cannot be read" in complaint(write("rows.arff", arff + "{0 'a'}\n"))
