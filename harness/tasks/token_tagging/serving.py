"""Files and answers of prediction: words with tags, or spans of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.readers.advice import as_options
from harness.data.readers.encodings import encoding_problem
from harness.data.readers.file_formats import FileFormat, Table, read_table, require_columns
from harness.errors import HarnessError
from harness.formatting.examples import some
from harness.records.files import atomic
from harness.tasks.token_tagging.conll import FIRST
from harness.tasks.token_tagging.data import Sentence
from harness.tasks.token_tagging.entities import entities
from harness.tasks.token_tagging.rows import is_conll, is_unicode, read_words
from harness.tasks.token_tagging.words import sentence_of

DEFAULT = "text"  # the column that is read where none is named
OUTPUTS = (".conll",)
LINES = ".txt"  # a text a line


def asked_rows(texts: Sequence[Any]) -> list[Sentence]:
    """Return the sentences of texts, which are cut into words here, or of lists of words.

    Raises:
        HarnessError: a row is neither.
    """
    found = []
    for number, given in enumerate(texts, 1):
        if not is_unicode(given):
            raise HarnessError(f"Row {number} has characters that are none, halves of surrogate pairs: mend its text.")
        if isinstance(given, str):
            found.append(sentence_of(given))
        elif isinstance(given, list | tuple) and all(isinstance(word, str) and word.strip() for word in given):
            found.append(Sentence.of_words([word.strip() for word in given]))
        else:
            raise HarnessError(
                f"Row {number} is neither a text nor a list of words: predict([text]) or predict([[word, word]])."
            )
    return found


def spans_of(row: Sentence, tags: Sequence[str], confidence: Sequence[float]) -> list[dict[str, Any]]:
    """Return the entities of a row as spans of its text; their score is the lowest probability of their tags."""
    ends = row.ends
    return [
        {
            "start": row.starts[entity.start],
            "end": ends[entity.end - 1],
            "label": entity.type,
            "text": row.text[row.starts[entity.start] : ends[entity.end - 1]],
            "score": round(min(confidence[entity.start : entity.end]), 6),
        }
        for entity in entities(tuple(tags))
    ]


def answers_of(row: Sentence, tags: Sequence[str], confidence: Sequence[float]) -> list[Any]:
    """Return the tags of a row that was given as words, or the spans of one that was given as a text."""
    return list(tags) if row.given else spans_of(row, tags, confidence)


def read_for_prediction(file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[Any]]]:
    """Read the rows of a file: a word a line (.conll, --format conll), a text a line (.txt), or a column of either.

    Returns:
        The columns of the file, none of a file of words or lines; and a list of its rows.

    Raises:
        HarnessError: it cannot be read.
    """
    form = FileFormat(**how)
    if problem := encoding_problem(form.encoding):
        raise HarnessError(as_options(problem))
    try:
        if is_conll(file, form):
            word = FIRST if list(columns) == [DEFAULT] else columns[0]
            rows: list[Any] = [row.sentence.words for row in read_words(file, form, word, None).rows]
            return Table([], []), [rows]
        if form.format is None and file.suffix.lower() == LINES:
            table = read_table(file, FileFormat(format="lines", encoding=form.encoding, columns=["text"]), ["text"])
            return Table([], []), [table.columns[0]]
        return _of_column(file, columns[0], form)
    except HarnessError as error:
        raise HarnessError(*map(as_options, error.problems)) from error


def _of_column(file: Path, column: str, form: FileFormat) -> tuple[Table, list[list[Any]]]:
    table = read_table(file, form, [], every=True)
    if not table.rows:
        raise HarnessError(f"{file.name} has no rows: at least one with a text or words is needed.")
    if column == DEFAULT and DEFAULT not in table.names and FIRST in table.names:
        column = FIRST
    (place,) = require_columns([column], table.names, file.name)
    values = ["" if value is None else value for value in table.columns[place]]
    if odd := [
        number
        for number, value in enumerate(values, 1)
        if not isinstance(value, str)
        and not (isinstance(value, list) and all(isinstance(word, str) and word.strip() for word in value))
    ]:
        raise HarnessError(
            f"{file.name} has values in column {column!r} that are neither texts nor lists of words (row {some(odd)}): "
            "name another column with --text COLUMN."
        )
    return table, [values]


def write_words(file: Path, rows: Sequence[tuple[Sentence, Sequence[str], Sequence[float]]]) -> bool:
    """Write a word a line with its tag, if the file's suffix says so; return whether it did.

    Raises:
        HarnessError: the file cannot be written.
    """
    if file.suffix.lower() not in OUTPUTS:
        return False
    try:
        with atomic(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as target:
            for row, tags, _ in rows:
                # A word of JSON may have a line end in it, which would end the line here.
                words = [" ".join(word.split()) for word in row.words]
                target.writelines(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
                target.write("\n")
    except OSError as error:
        raise HarnessError(f"{file} cannot be written: {error}.") from error
    return True
