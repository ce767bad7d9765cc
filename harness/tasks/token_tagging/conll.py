"""Reader of CoNLL files: a word a line with its tag in a column, a blank line between sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.data.readers.encodings import split_lines
from harness.errors import HarnessError, Problems, nearest
from harness.formatting.examples import short, some

DOCUMENT = "-DOCSTART-"  # first field of a line that begins a document
PARTS = re.compile(r"\d+[-.]\d+")  # numbers of CoNLL-U lines that are no words: 1-2 joins words, 1.1 has no form
FIRST, LAST = "tokens", "tags"  # names of the columns where a task names none: the first and the last
TAB = ("\\t", "tab")


@dataclass
class Block:
    """A sentence of a file.

    Attributes:
        words: w words.
        tags: w tags; empty without a column of tags.
        lines: (w,) their lines, counted from 1.
    """

    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def read_conll(
    content: str,
    where: str,
    separator: str | None = None,
    columns: Sequence[str] | None = None,
    word: str = FIRST,
    tag: str | None = LAST,
) -> list[Block]:
    """Split a file into sentences.

    Args:
        content: of the file.
        where: its name, for messages.
        separator: between fields; None: tabs if a line has one, else spaces.
        columns: their names, if the file is to be read by names.
        word, tag: names or numbers (from 0; -1 is the last) of the columns; `tag` None reads no tags.

    Raises:
        HarnessError: lines have different numbers of fields, a word is missing, or there is no such column.
    """
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(split_lines(content), 1)]
    cut = _splitter(separator, any("\t" in line.strip() for _, line in lines))
    rows = [(number, cut(line)) for number, line in lines]
    widths = Counter(len(row) for _, row in rows if row and not _is_boundary(row))
    if not widths:
        raise HarnessError(f"{where} has no words: a file of a word a line is needed.")
    width = widths.most_common(1)[0][0]
    word_at = _column(word, FIRST, 0, columns, width, where)
    tag_at = None if tag is None else _column(tag, LAST, width - 1, columns, width, where)
    if tag_at is not None and tag_at == word_at:
        raise HarnessError(
            f"{where} has {'one column' if width == 1 else 'its words and tags in one column'}, and a word and a tag "
            "are needed in each line. Set task.separator, or name the columns with task.text and task.label."
        )
    found, ragged, empty = [Block()], list[int](), list[int]()
    for number, row in rows:
        if not row or _is_boundary(row):
            found.append(Block())
        elif len(row) != width:
            # A hashtag is a word, and its line has as many fields as all others.
            if not row[0].startswith("#"):
                ragged.append(number)
        elif not (word_at == 1 and PARTS.fullmatch(row[0])):
            if not row[word_at].strip():
                empty.append(number)
            found[-1].words.append(row[word_at].strip())
            found[-1].lines.append(number)
            if tag_at is not None:
                found[-1].tags.append(row[tag_at].strip())
    problems = Problems()
    problems.check(
        not ragged,
        f"{where} has {width} fields in most lines, and another number in {len(ragged)} (line {some(ragged)}). Mend "
        "them, or set task.separator to what stands between the fields.",
    )
    problems.check(
        not empty, f"{where} has no word in {len(empty)} lines that have other fields (line {some(empty)}): mend them."
    )
    problems.raise_any()
    return [block for block in found if block.words]


def _splitter(separator: str | None, tabs: bool) -> Callable[[str], list[str]]:
    if separator is not None and separator.casefold() not in TAB:
        return lambda line: line.split(separator) if line.strip() else []
    if separator is not None or tabs:
        return lambda line: line.split("\t") if line.strip() else []
    # By spaces alone: words may hold others, such as the one that does not break.
    return lambda line: re.split(" +", line.strip(" ")) if line.strip() else []


def _is_boundary(row: Sequence[str]) -> bool:
    return row[0].startswith(DOCUMENT)


def _column(name: str, default: str, place: int, columns: Sequence[str] | None, width: int, where: str) -> int:
    """Return the number of a column, by its name or number."""
    if columns is not None and len(columns) != width:
        raise HarnessError(
            f"task.columns names {len(columns)} columns, and most lines of {where} have {width} fields: name each one."
        )
    if columns is not None and name in columns:
        return list(columns).index(name)
    if re.fullmatch(r"-?\d+", name):
        number = int(name)
        if -width <= number < width:
            return number % width
        raise HarnessError(
            f"{where} has no column {number}: its columns are 0 to {width - 1}, and -1 is the last. Choose with "
            "task.text and task.label."
        )
    if name == default:
        return place
    known = list(columns) if columns is not None else [str(number) for number in range(width)]
    raise HarnessError(
        f"{where} has no column {short(name)}. {nearest(name, known)} Choose with task.text (the words) and task.label "
        "(the tags), by number, or by names that task.columns gives."
    )
