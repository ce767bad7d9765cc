"""Compressed files are read; files of other kinds are named, with what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import sqlite3
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from harness.data.readers.file_formats import expanded
from tests.data.readers.test_file_formats import complaint, read
from tests.helpers.text_tasks import Write

FRAME = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
CSV = FRAME.to_csv(index=False).encode()
COLUMNS = FRAME.to_dict("list")


def zipped(**members: bytes) -> bytes:
    """A ZIP archive; `_` in a name stands for a dot."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return target.getvalue()


def office(member: str) -> bytes:
    """The beginning of a document that is a ZIP archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(member, "<xml/>")
        archive.writestr("[Content_Types].xml", "<xml/>")
    return target.getvalue()


def test_compressed_files_are_read(write: Write) -> None:
    """By their bytes, whatever the suffix; the format is that of the name within."""
    lines = FRAME.to_json(orient="records", lines=True).encode()
    files = {
        "rows.csv.gz": gzip.compress(CSV),
        "rows.jsonl.gz": gzip.compress(lines),
        "rows.tsv.bz2": bz2.compress(CSV.replace(b",", b"\t")),
        "rows.ndjson.xz": lzma.compress(lines),
        "rows.csv.zst": pa.compress(CSV, codec="zstd", asbytes=True),
        "rows.parquet.gz": gzip.compress(FRAME.to_parquet()),
        "rows.csv": gzip.compress(CSV),  # a browser that keeps the suffix and not the compression, or so
        "rows.zip": zipped(in_csv=CSV),
        "rows.csv.lzma": lzma.compress(CSV, format=lzma.FORMAT_ALONE),
        "two.csv.gz": gzip.compress(CSV[:9]) + gzip.compress(CSV[9:]),
    }
    for name, content in files.items():
        assert read(write(name, content)) == COLUMNS, name
    assert read(write("rows.gz", gzip.compress(CSV)), format="csv") == COLUMNS
    with zipfile.ZipFile(path := write("mac.zip", zipped(in_csv=CSV)), "a") as archive:
        archive.writestr("._in.csv", b"\x00\x05")  # what macOS puts beside each file
    assert read(path) == COLUMNS
    wide = gzip.compress(CSV.decode().encode("utf-16"))
    assert read(write("wide.csv.gz", wide), encoding="utf-16") == COLUMNS


def test_parquet_and_arrow_are_known_by_their_bytes(write: Write) -> None:
    """Under a wrong suffix they are read; a format that was set and is another is told."""
    sink = io.BytesIO()
    FRAME.to_feather(sink)
    for name, content in (("rows.csv", FRAME.to_parquet()), ("rows.txt", sink.getvalue()), ("rows", sink.getvalue())):
        assert read(write(name, content)) == COLUMNS, name
    message = complaint(write("rows.csv", FRAME.to_parquet()), format="csv")
    assert message == "rows.csv is a file of format parquet, not csv: set task.format=parquet, or leave it out."
    assert read(write("rows.csv", b"PAR1,text,label\n1,a,x\n")) == {"text": ["a"], "label": ["x"]}


KINDS = [
    (office("xl/workbook.xml"), "an Excel workbook"),
    (office("content.xml"), "an OpenDocument file"),
    (office("word/document.xml"), "a Word document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Office document"),
    (zipped(a_csv=CSV, b_csv=CSV), "a ZIP archive of 2 files (a.csv, b.csv)"),
    (zipped(), "an empty ZIP archive"),
    (pickle.dumps(FRAME), "a Python pickle"),
    (gzip.compress(pickle.dumps(FRAME)), "a Python pickle"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
    (b"<!DOCTYPE html>\n<html></html>", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "a Git LFS pointer"),
    (gzip.compress(CSV * 50)[:-12], "is compressed by gzip and cannot be decompressed"),
    (bz2.compress(CSV * 50)[:-12], "is compressed by bzip2 and cannot be decompressed"),
    (lzma.compress(CSV * 50)[:-12], "is compressed by xz and cannot be decompressed"),
    (pa.compress(CSV * 50, codec="zstd", asbytes=True)[:-9], "is compressed by zstd and cannot be decompressed"),
    (b"PK\x03\x04" + bytes(50), "a ZIP archive that cannot be unpacked"),
    (gzip.compress(b""), "is empty"),
    (b'<?xml version="1.0"?><rows/>', "an XML document"),
    (b"ORC\x00\x01\x02\x03", "an ORC file"),
    (b"\x1f\x9d\x90abc", "a file that compress (.Z) made"),
]


@pytest.mark.parametrize(("content", "told"), KINDS, ids=[told for _, told in KINDS])
def test_what_cannot_be_read_is_named(content: bytes, told: str, write: Write) -> None:
    """Whatever its suffix and the format that is set; an encoding is never the advice."""
    for name in ("rows.csv", "rows.xlsx", "rows.jsonl"):
        for how in ({}, {"format": "csv"}):
            message = complaint(write(name, content), **how)
            assert told in message and "encoding" not in message, message


def test_a_database_is_named(tmp_path: Path) -> None:
    """SQLite under any name."""
    path = tmp_path / "rows.csv"
    with sqlite3.connect(path) as connection:
        connection.execute("create table rows (text, label)")
    assert "an SQLite database, which cannot be read. Export its table as CSV" in complaint(path)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """A pipe is not waited for; a name that no file can have, and a home of nobody, are told as a missing file is."""
    os.mkfifo(tmp_path / "rows.csv")
    assert "is a pipe or a device" in complaint(tmp_path / "rows.csv")
    assert "cannot be read" in complaint(tmp_path / f"{'x' * 300}.csv")
    assert expanded("~nobody-of-this-name/rows.csv") == Path("~nobody-of-this-name/rows.csv")


def test_half_a_parquet_file(write: Write) -> None:
    """It is told as one, whatever it is called."""
    assert "is not a readable parquet file" in complaint(write("rows.csv", FRAME.to_parquet()[:300]))
