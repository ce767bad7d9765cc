"""Rows of tagging tasks, from files of any kind: words and tags, or texts and spans. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.data.readers.containers import unpack
from harness.data.readers.encodings import decode, encoding_note
from harness.data.readers.file_formats import SUFFIXES, TABLES, FileFormat, neighbours, read_table, require_columns
from harness.data.readers.rows import label_text
from harness.errors import HarnessError, Problems
from harness.formatting.examples import examples, some
from harness.tasks.token_tagging.conll import read_conll
from harness.tasks.token_tagging.data import Sentence
from harness.tasks.token_tagging.entities import Entity, encoded
from harness.tasks.token_tagging.words import sentence_of

CONLL = ("conll", "bio", "iob", "iob2", "conllu")  # suffixes of files of a word a line
FORMAT = "conll"
ROWS = tuple(suffix for suffix, name in SUFFIXES.items() if name in TABLES)  # suffixes of files that are not CoNLL
TYPE = ("label", "type", "tag")  # names that the type of a span has in other programs


@dataclass(frozen=True)
class Row:
    """A tagged sentence of a source.

    Attributes:
        sentence, tags: words and their tags; no tags if none were asked for.
        place: where it is, for messages: `line` of each word, or the row.
    """

    sentence: Sentence
    tags: tuple[str, ...]
    place: tuple[int, ...]
    unit: str

    def where(self, word: int) -> int:
        """Return the line or row of a word."""
        return self.place[min(word, len(self.place) - 1)]


@dataclass(frozen=True)
class Rows:
    """The rows of a split, with sentences about their source for the user."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def renamed(self, names: Mapping[str, str]) -> Rows:
        """Return the rows with other names of tags."""
        rows = (replace(row, tags=tuple(str(names.get(tag, tag)) for tag in row.tags)) for row in self.rows)
        return replace(self, rows=tuple(rows))


def is_conll(path: Path, how: FileFormat) -> bool:
    """Return whether a file has a word a line, by its declared format or its suffix."""
    suffixes = [suffix[1:].lower() for suffix in path.suffixes[-2:]]  # words.conll.gz
    return how.format == FORMAT or (how.format is None and any(suffix in CONLL for suffix in suffixes))


def read_words(path: Path, how: FileFormat, word: str, tag: str | None) -> Rows:
    """Read a file of a word a line.

    Args:
        path: the file.
        how: its encoding, separator and the names of its columns.
        word, tag: see `read_conll`.

    Raises:
        HarnessError: it cannot be read.
    """
    try:
        if not path.is_file():
            raise HarnessError(f"There is no file {path}. {neighbours(path)}")
        content, _ = unpack(path.read_bytes(), path.name)
    except OSError as error:
        raise HarnessError(f"{path.name} cannot be read: {error}.") from error
    text = decode(content, how.encoding, path.name)
    blocks = read_conll(text, path.name, how.separator, how.columns, word, tag)
    note = encoding_note(content, how.encoding, path.name)
    rows = [
        Row(Sentence.of_words(block.words), tuple(block.tags), tuple(block.lines), "line") for block in blocks
    ]  # fmt: skip
    return Rows(tuple(rows), (note,) if note else ())


def read_columns(path: Path, how: FileFormat, text: str, label: str, names: Mapping[str, str]) -> Rows:
    """Read a file of rows: lists of words with lists of tags, or texts with lists of spans.

    Args:
        path: the file.
        how: its format.
        text, label: its columns.
        names: {tag or type of the file: its name}.

    Raises:
        HarnessError: it cannot be read, or rows are no such lists.
    """
    try:
        table = read_table(path, how, [text, label], label)
        places = require_columns([text, label], table.names, path.name)
    except HarnessError as error:
        if path.is_file() and how.format is None and path.suffix.lower() not in ROWS:
            first, *others = error.problems
            raise HarnessError(f"{first} If it has a word a line, set task.format={FORMAT}.", *others) from error
        raise
    if not table.rows:
        raise HarnessError(f"{path.name} holds no rows: at least one with words and tags is needed.")
    texts, labels = (table.columns[place] for place in places)
    found = of_columns(texts, labels, path.name, text, label, names)
    return replace(found, notes=(*table.notes, *found.notes))


def of_columns(
    texts: Sequence[Any], labels: Sequence[Any], where: str, text: str, label: str, names: Mapping[str, str]
) -> Rows:
    """Make rows of columns; see `read_columns`."""
    found, wrong, problems, cut = [], list[str](), Problems(), 0
    for number, pair in enumerate(zip(texts, labels, strict=True), 1):
        try:
            given, marks = map(_parsed, pair) if all(isinstance(each, str) for each in pair) else pair
            sentence, tags, moved = _row(given, marks, names)
        except _Unusable as error:
            wrong.append(f"row {number} {error}")
        else:
            cut += moved
            found.append(Row(sentence, tags, (number,), "row"))
    problems.check(
        not wrong,
        f"{len(wrong)} rows of {where} cannot be read: {some(wrong, '; ')}. "
        f"Column {text!r} must hold lists of words and {label!r} as many tags, or {text!r} texts and {label!r} lists "
        'of spans, {"start": 0, "end": 5, "label": "name"}, counted in characters from 0, the end excluded.',
    )
    problems.raise_any()
    note = (
        f"{cut} spans of {where} begin or end within a word; the whole word counts as part of the entity."
        if cut
        else ""
    )
    return Rows(tuple(found), (note,) if note else ())


class _Unusable(Exception):
    """A row cannot be used; the message says what it has."""


def _row(given: Any, marks: Any, names: Mapping[str, str]) -> tuple[Sentence, tuple[str, ...], int]:
    """Return a row's words and tags, and how many of its spans were extended to whole words."""
    if not is_unicode(given):
        raise _Unusable("has characters that are none, halves of surrogate pairs")
    if isinstance(given, str):
        sentence = sentence_of(given)
        return sentence, *_of_spans(sentence, [] if marks is None else marks, names)
    sentence, tags = Sentence.of_words(_words(given)), _tags(marks, names)
    if len(tags) != len(sentence.words):
        raise _Unusable(f"has {len(sentence.words)} words and {len(tags)} tags")
    return sentence, tags, 0


def is_unicode(given: Any) -> bool:
    """Return whether a text, or all words of a list, can be written as UTF-8."""
    text = "".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parsed(value: Any) -> Any:
    """Return a list that a delimited file holds as JSON; other values unchanged."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            return value
        return found if isinstance(found, list) else value
    return value


def _words(given: Any) -> list[str]:
    if not isinstance(given, list | tuple):
        raise _Unusable(f"has neither a text nor a list of words, but {type(given).__name__}")
    if odd := [word for word in given if not isinstance(word, str) or not word.strip()]:
        raise _Unusable(f"has words that are none: {examples(odd)}")
    return [word.strip() for word in given]


def _tags(marks: Any, names: Mapping[str, str]) -> tuple[str, ...]:
    if isinstance(marks, str):
        marks = marks.split()
    if not isinstance(marks, list | tuple) or any(isinstance(mark, Mapping | list | tuple) for mark in marks):
        raise _Unusable("has words and no list of tags")
    found = [label_text(mark) for mark in marks]
    return tuple(str(names.get(tag, tag)) for tag in found)


def _of_spans(sentence: Sentence, marks: Any, names: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """Return the BIO tags of spans of a text, and how many of them are extended to whole words."""
    if not isinstance(marks, list | tuple):
        raise _Unusable("has a text and no list of spans")
    found, moved = list[Entity](), 0
    for mark in marks:
        start, end, kind = _span(mark, len(sentence.text))
        inside = [
            place
            for place, (first, last) in enumerate(zip(sentence.starts, sentence.ends, strict=True))
            if first < end and last > start
        ]
        if not inside:
            raise _Unusable(f"has a span without a word, {start} to {end}")
        moved += sentence.starts[inside[0]] < start or sentence.ends[inside[-1]] > end
        found.append(Entity(str(names.get(kind, kind)), inside[0], inside[-1] + 1))
    found.sort(key=lambda each: each.start)
    for one, other in pairwise(found):
        if other.start < one.end:
            words = " ".join(sentence.words[other.start : one.end])
            raise _Unusable(f"has spans that share the word {words!r}, and a word has one tag")
    return encoded(found, len(sentence.words), "BIO"), moved


def _span(mark: Any, length: int) -> tuple[int, int, str]:
    if isinstance(mark, Mapping):
        kind = next((mark[name] for name in TYPE if name in mark), None)
        start, end = mark.get("start"), mark.get("end")
    elif isinstance(mark, list | tuple) and len(mark) == 3:
        start, end, kind = mark
    else:
        raise _Unusable(f"has a span that is none: {examples([mark])}")
    if isinstance(kind, list | tuple) and len(kind) == 1:
        kind = kind[0]
    if isinstance(start, bool) or not (isinstance(start, int) and isinstance(end, int) and isinstance(kind, str)):
        raise _Unusable(f"has a span without start, end and label: {examples([mark])}")
    if not 0 <= start < end <= length:
        raise _Unusable(f"has a span from {start} to {end} in a text of {length} characters")
    if not kind.strip():
        raise _Unusable(f"has a span without a label: {examples([mark])}")
    return start, end, kind.strip()


def where_of(rows: Sequence[tuple[Row, int]]) -> str:
    """Return the places of words, at most three: `line 3, 8, 12, ...`."""
    return f"{rows[0][0].unit} {some([row.where(word) for row, word in rows])}"
