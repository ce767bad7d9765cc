"""Shapes of delimited text and JSON as other programs write them, line ends that are none, names that stand twice."""

from __future__ import annotations

import io
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data.readers.file_formats import FileFormat, read_file
from tests.data.readers.test_file_formats import complaint, read
from tests.helpers.text_tasks import Write

FRAME = pd.DataFrame({"text": ["a, b", "c"], "label": ["x", "y"]})
COLUMNS = FRAME.to_dict("list")
RECORDS = FRAME.to_dict("records")

DELIMITED = {
    'text, label\n"a, b", "x"\n"c", "y"\n': {},
    'text,label\n"a, b", "x"\nc, y\n': {},
    'label, text\n"x", "a, b"\n"y", "c"\n': {},
    'label,text\nx, "a, b"\ny, c\n': {},
    "sep=;\ntext;label\na, b;x\nc;y\n": {},
    '"sep=;"\r\n"text";"label"\r\n"a, b";"x"\r\nc;y\r\n': {},
    "\ufeffSEP=\t\ntext\tlabel\na, b\tx\nc\ty\n": {},
    "sep=;\ntext;label\na, b;x\nc;y\n\n": {"separator": ";"},
    "sep=|\na, b|x\nc|y\n": {"columns": ["text", "label"]},
    'text,label\r"a, b",x\rc,y\r': {},
    ',text,label\n0,"a, b",x\n1,c,y\n': {},
    'Unnamed: 0,text,label\n0,"a, b",x\n1,c,y\n': {},
}


@pytest.mark.parametrize("content", DELIMITED, ids=range(len(DELIMITED)))
def test_delimited_text_as_programs_write_it(content: str, write: Write) -> None:
    """A space after each separator, a line that names the separator, an index column, line ends of old."""
    assert read(write("rows.csv", content), **DELIMITED[content]) == COLUMNS


def test_spaces_that_belong_to_texts_stay(write: Write) -> None:
    """Only a file that has a space after every separator of a column, and quotes behind some, loses them."""
    spaced = 'label,text\nx, "quoted" word\ny,plain\n'
    assert read(write("rows.csv", spaced)) == {"label": ["x", "y"], "text": [' "quoted" word', "plain"]}
    assert read(write("rows.csv", "label,text\nx, a\ny, b\n"))["text"] == [" a", " b"]
    assert read(write("rows.csv", 'text,label\n" a ",x\n" b",y\n'))["text"] == [" a ", " b"]


@pytest.mark.parametrize("orient", ["records", "split", "columns", "index", "table"])
def test_json_as_pandas_writes_it(orient: str, write: Write) -> None:
    """Every orientation whose columns have names; also indented, and with an index that is not 0, 1, ..."""
    for frame in (FRAME, FRAME.set_axis(["r", "s"]), FRAME.set_axis([7, 3])):
        for indent in (None, 2):
            path = write("rows.json", frame.to_json(orient=orient, indent=indent))  # type: ignore[call-overload]
            assert read(path) == COLUMNS
    assert read(write("rows.jsonl", FRAME.to_json(orient=orient))) == COLUMNS  # type: ignore[call-overload]


def test_other_shapes_of_json(write: Write) -> None:
    """Columns as lists, rows under a key, rows without names, one object, lines under the name .json."""
    shapes = [
        COLUMNS, {"data": RECORDS}, {"version": "1.0", "data": RECORDS}, {"examples": RECORDS, "count": 2},
        {"rows": RECORDS},
    ]  # fmt: skip
    for shape in shapes:
        assert read(write("rows.json", json.dumps(shape))) == COLUMNS, shape
        assert read(write("rows.json", json.dumps(shape, indent=1))) == COLUMNS, shape
    assert read(write("rows.json", "\n".join(map(json.dumps, RECORDS)))) == COLUMNS
    values = write("rows.json", FRAME.to_json(orient="values"))
    assert read(values, columns=["text", "label"]) == COLUMNS
    assert "name their values with task.columns=[text,label]" in complaint(values)
    assert read(write("rows.json", json.dumps(RECORDS[0], indent=1))) == {"text": ["a, b"], "label": ["x"]}
    ragged = write("rows.jsonl", '{"text": "a", "label": "x"}\n{"label": "y", "text": "b", "more": 1}\n')
    assert read(ragged) == {"text": ["a", "b"], "label": ["x", "y"]}


def test_json_that_holds_no_rows_says_so(write: Write) -> None:
    """One sentence each."""
    cases = {
        "[" * 20000: "nested too deeply",
        '{"a":' * 20000: "nested too deeply",
        "5": "holds int 5 and no rows",
        '"text"': "holds str 'text' and no rows",
        "1" * 5000: "is not valid JSON",
        "{}": "holds no rows",
        '{"text": ["a", "b"], "label": ["x"]}': "columns of different lengths (text: 2, label: 1)",
        json.dumps({"train": RECORDS, "test": RECORDS}): "2 lists of rows ('train', 'test'), and one is needed",
        json.dumps(
            {"columns": ["text"], "data": [["a", "x"]]}
        ): "another number of values than the 1 that have names: rows 1.",
        json.dumps({"message": ["a"], "topic": ["x"]}): "has no column 'text'",
        json.dumps({"a": {"0": 1}, "b": {"0": 2}}): "has no column 'text'",
    }
    for content, told in cases.items():
        for name in ("rows.json", "rows.jsonl"):
            assert told in complaint(write(name, content)), (content[:40], name)


def test_columns_that_stand_twice(write: Write) -> None:
    """In no format the first is taken in silence; other columns may stand twice."""
    table = pa.table([["a"], ["x"], ["y"]], names=["text", "label", "label"])
    stream, file, parquet = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, parquet)
    arff = "@relation r\n@attribute text string\n@attribute label {x}\n@attribute label {y}\n@data\na,x,y\n"
    files = {
        "a.arrow": stream.getvalue(), "b.feather": file.getvalue(), "c.parquet": parquet.getvalue(),
        "d.csv": "text,label,label\na,x,y\n", "e.tsv": "text\tlabel\t label\na\tx\ty\n", "f.arff": arff,
    }  # fmt: skip
    for name, content in files.items():
        message = complaint(write(name, content))
        assert f"{name} has 2 columns of the name 'label' (columns 2, 3)" in message, message
        assert read_file(write(name, content), ["text"], FileFormat()) == {"text": ["a"]}, name
    for name, content in (
        ("g.jsonl", '{"text": "a", "label": "x", "label": "y"}\n'),
        ("h.json", '{"columns": ["text", "label", "label"], "data": [["a", "x", "y"]]}'),
    ):
        assert "rows name 'label' twice" in complaint(write(name, content))


def test_lines_end_at_line_ends_only(write: Write) -> None:
    """U+0085, U+2028 and their kind are characters of texts, in every format of lines."""
    odd = "a\x85b\u2028c\u2029d\x0be\x0cf\x1cg"
    files = {
        "a.arff": f"@relation r\n@attribute text string\n@attribute label {{x,y}}\n@data\n'{odd}',x\n{odd} , y\n",
        "b.csv": f"text,label\n{odd},x\n{odd},y\n",
        "c.tsv": f"text\tlabel\n{odd}\tx\n{odd}\ty\n",
        "d.jsonl": f'{{"text": "{odd}", "label": "x"}}\n'.replace("\x0b", "\\u000b").replace("\x0c", "\\f").replace(
            "\x1c", "\\u001c") * 2,
    }  # fmt: skip
    for name, content in files.items():
        assert read(write(name, content))["text"] == [odd, odd], name
    lines = {"format": "lines", "columns": ["text", "label"]}
    for end in ("\n", "\r\n", "\r"):
        path = write("e.txt", f"{odd}\tx{end}{odd}\ty{end}")
        assert read(path, **lines) == {"text": [odd, odd], "label": ["x", "y"]}, repr(end)


def test_a_file_without_a_header_is_recognised(write: Write) -> None:
    """Its first row looks like data: the way to name its columns is told."""
    message = complaint(write("rows.csv", "a film that nobody should miss,x\nb,y\n"))
    assert "The first row looks like data, not like names: name the columns with task.columns=[text,label]." in message


def test_long_values_are_cut_in_messages(write: Write) -> None:
    """A message shows three short examples, however wide or long the file is."""
    wide = ",".join(f"a column of a long name, number {n}".replace(",", "") for n in range(300))
    message = complaint(write("rows.csv", wide + "\n" + ",".join("x" * 300) + "\n"))
    assert "and 297 more" in message and len(message) < 1200
