"""Hundreds of files as people, programs and accidents make them: rows as a reference reader gives them, or a sentence.

Whole files are written from known rows in a known encoding by the standard library or pandas: whatever the readers of
tasks and of `harness.predict` accept must be these rows. Damaged files may be refused; nothing is a traceback, and
delimited ones that are accepted are what `csv` reads in the true encoding.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.data.readers.file_formats import FileFormat, read_file
from harness.data.readers.rows import to_rows
from harness.data.readers.whole_table import read_texts, write_table
from harness.errors import HarnessError

FILES = 600  # and as many again, damaged
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1", "gb18030",
             "shift_jis", "euc-kr", "big5", "cp1251", "koi8_r")  # fmt: skip
KINDS = ("csv", "csv", "csv", "tsv", "jsonl", "json", "parquet", "arrow", "lines", "arff")
PIECES = ("plain", "two words", "a, b; c", 'say "hi"', "it's", "tab\there", "line\nbreak", "=1+1", "-7", "3.5", "NA",
          "null", "true", " padded ", "café", "naïve façade", "好看", "とても", "정말", "Привет", "\u2028sep", "x\x85y",
          "😀", "#", "{}", "[1]", "a|b", "%", "\\n", "\\", "''", "?", "@home", "sep=;")  # fmt: skip
PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
DAMAGES = ("cut", "nul", "noise", "ends", "ragged", "quote", "mark", "twice", "other", "empty")


def texts(rng: random.Random, encoding: str, count: int) -> list[str]:
    """Texts that an encoding has all characters for."""
    fitting = [piece for piece in PIECES if _fits(piece, encoding)]
    return [" ".join(rng.choices(fitting, k=rng.randint(1, 4))) + f" {number}" for number in range(count)]


def _fits(piece: str, encoding: str) -> bool:
    try:
        return piece.encode(encoding).decode(encoding) == piece
    except UnicodeError:
        return False


def made(rng: random.Random) -> tuple[str, bytes, dict[str, Any], dict[str, list[str]]]:
    """One file: its name, content, how it is to be read, and its rows."""
    kind, encoding = rng.choice(KINDS), rng.choice(ENCODINGS)
    rows = {"text": texts(rng, encoding, rng.randint(2, 12))}
    rows["label"] = [rng.choice(("pos", "neg", "0", "1.5", "True", "a b")) for _ in rows["text"]]
    how: dict[str, Any] = {"encoding": encoding}
    if kind in ("parquet", "arrow"):
        sink = io.BytesIO()
        frame = pd.DataFrame(rows)
        _ = frame.to_parquet(sink) if kind == "parquet" else frame.to_feather(sink)
        content = sink.getvalue()
    else:
        content = _as_text(rng, kind, rows, how).encode(encoding)
    packed = rng.choice([*PACKERS, "", "", ""])
    suffix = "txt" if kind == "lines" else kind
    return f"rows.{suffix}{packed}", PACKERS[packed](content), how, rows


def _as_text(rng: random.Random, kind: str, rows: dict[str, list[str]], how: dict[str, Any]) -> str:
    end = rng.choice(("\n", "\r\n"))
    if kind == "jsonl":
        ascii_only = rng.random() < 0.5
        lines = [json.dumps(dict(zip(rows, row, strict=True)), ensure_ascii=ascii_only) for row in zip(*rows.values())]  # noqa: B905 - equal by construction
        return end.join([*lines, ""])
    if kind == "json":
        orient = rng.choice(("records", "split", "columns", "index", "table"))
        text: str = pd.DataFrame(rows).to_json(orient=orient, force_ascii=False)  # type: ignore[call-overload]
        return text
    if kind in ("lines", "arff"):
        rows["text"] = [" ".join(text.split("\n")).replace("?", "!") for text in rows["text"]]
    if kind == "lines":
        how |= {"format": "lines", "columns": ["text", "label"], "separator": rng.choice(("@", "\t", None))}
        mark = how["separator"] or "\t"
        return end.join(text + mark + label for text, label in zip(*rows.values(), strict=True)) + end
    if kind == "arff":
        escaped = [text.replace("\\", "\\\\").replace("'", "\\'") for text in rows["text"]]
        body = [f"'{text}','{label}'" for text, label in zip(escaped, rows["label"], strict=True)]
        return end.join(["@relation r", "@attribute text string", "@attribute label string", "@data", *body, ""])
    return _delimited(rng, kind, rows, how, end)


def _delimited(rng: random.Random, kind: str, rows: dict[str, list[str]], how: dict[str, Any], end: str) -> str:
    separator = "\t" if kind == "tsv" else rng.choice((",", ",", ";", "|", "\t"))
    header, named = rng.random() < 0.8, rng.random() < 0.2
    target = io.StringIO(newline="")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC))
    writer = csv.writer(target, delimiter=separator, quoting=quoting, lineterminator=end)
    index = rng.random() < 0.2 and header
    if header:
        writer.writerow([*([""] if index else []), *rows])
    else:
        how["columns"] = list(rows)
    for number, row in enumerate(zip(*rows.values(), strict=True)):
        writer.writerow([*([number] if index else []), *row])
    text = target.getvalue()
    if named:
        return f"sep={separator}{end}{text}"
    if separator != ("\t" if kind == "tsv" else ","):
        how["separator"] = separator
    return text


def damaged(rng: random.Random, name: str, content: bytes, how: dict[str, Any]) -> bytes:
    """A file after an accident; `how` may be wrong afterwards as well."""
    kind, at = rng.choice(DAMAGES), rng.randrange(len(content) + 1)
    if kind == "other":
        how["encoding"] = rng.choice(("utf-8", "utf-16", "cp1252", "ascii", "gb18030", "utf-32-be", "utf-7"))
    changes = {
        "cut": content[:at],
        "nul": content[:at] + bytes(rng.randint(1, 9)) + content[at:],
        "noise": content[:at] + rng.randbytes(rng.randint(1, 40)) + content[at + rng.randint(0, 9) :],
        "ends": content.replace(b"\n", b"\r", 1).replace(b"\n", b"\r\n", 1),
        "ragged": content.replace(b"\n", b",more\n", 1),
        "quote": content[:at] + b'"' + content[at:],
        "mark": b"\xef\xbb\xbf\xff\xfe" + content,
        "twice": content[:at] + content,
        "empty": rng.choice((b"", b"\n\n\n", b" ", b"\x00")),
    }
    return changes.get(kind, content)


def outcome(path: Path, how: dict[str, Any]) -> dict[str, list[Any]] | HarnessError:
    """What the reader of tasks gives, checked that it is rows, and that predict's reader agrees."""
    found: dict[str, list[Any]] | HarnessError
    try:
        found = read_file(path, ["text", "label"], FileFormat(**how))
        to_rows(found, ["text"], "label", {}, path.name)
    except HarnessError as error:
        found = error
    try:
        table, read = read_texts(path, ["text"], how)
    except HarnessError as error:
        assert all(len(problem) < 1500 and "\n" not in problem.strip() for problem in error.problems), error
        return found
    if isinstance(found, dict):
        assert read[0] == found["text"]
        assert table.rows == len(found["text"])
    return found


@pytest.mark.parametrize("part", range(6))
def test_whole_files_give_their_rows(part: int, tmp_path: Path) -> None:
    """Encodings, separators, quoting, formats and compression: all rows, in order, unchanged."""
    for number in range(part * FILES // 6, (part + 1) * FILES // 6):
        name, content, how, rows = made(random.Random(number))
        path = tmp_path / f"{number}{name}"
        path.write_bytes(content)
        found = outcome(path, how)
        assert found == rows, (number, name, how, found)
        if number % 7 == 0:
            for suffix in ("csv", "tsv", "jsonl", "parquet"):
                output = tmp_path / f"out.{suffix}"
                write_table(output, list(rows), list(rows.values()))
                again = read_file(output, ["text", "label"], FileFormat())
                kept = [
                    text.removeprefix("'") if text.startswith(("'=", "'@", "'-")) else text for text in again["text"]
                ]
                assert kept == rows["text"] and again["label"] == rows["label"], (number, suffix)


@pytest.mark.parametrize("part", range(6))
def test_damaged_files_give_rows_or_a_sentence(part: int, tmp_path: Path) -> None:
    """Never a traceback; what is accepted of delimited text is what the standard library reads."""
    refused = 0
    for number in range(part * FILES // 6, (part + 1) * FILES // 6):
        rng = random.Random(number + 10_000)
        name, content, how, _ = made(rng)
        content = damaged(rng, name, content, how)
        path = tmp_path / f"{number}{name}"
        path.write_bytes(content)
        found = outcome(path, how)
        refused += isinstance(found, HarnessError)
        if isinstance(found, dict) and name.endswith((".csv", ".tsv")):
            assert found["text"] == reference(content, name, how), (number, name, how)
    assert refused > FILES / 6 / 4


def reference(content: bytes, name: str, how: dict[str, Any]) -> list[str]:
    """The texts that the standard library reads."""
    text = content.decode(how["encoding"]).removeprefix("\ufeff")
    separator = how.get("separator") or ("\t" if name.endswith("tsv") else ",")
    if text[:4].lower() == "sep=":
        separator, text = how.get("separator") or text[4], re.split("\r\n|\n|\r", text, maxsplit=1)[1]
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    names = how.get("columns") or [cell.strip() for cell in rows.pop(0)]
    return [row[names.index("text")] for row in rows]
