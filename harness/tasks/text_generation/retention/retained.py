"""What a tuned model is to keep: general texts, or the questions of another task (`task.retain`). Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.api.family import families
from harness.config.instantiate import build
from harness.config.kinds import KIND, KINDS
from harness.data.dataset import Dataset, Split
from harness.data.readers.advice import without_settings
from harness.data.readers.encodings import decode
from harness.data.readers.file_formats import SUFFIXES, FileFormat, expanded, read_table
from harness.errors import HarnessError, nearest
from harness.tasks.text_generation.data import Conversation, GenerationSplit, Retained
from harness.tasks.text_generation.rows import Form

ROWS = 200  # most texts or questions, evenly spread
COLUMNS = ("text", "prompt", "completion", "choices")
KEYS = ("path", *COLUMNS, "rows")
FORMS = (
    "a file of general texts (task.retain=FILE: paragraphs, or a table with the column text), a task that comes with "
    "the program (task.retain=demo), {path: FILE, prompt: COLUMN, completion: COLUMN, choices: COLUMN}, or {kind: "
    "KIND, ...} with the keys of that task"
)


def read_retained(given: str | Mapping[str, Any]) -> Retained:
    """Read what `task.retain` names.

    Args:
        given: a file, the name of a kind of task, or a mapping; see `FORMS`.

    Raises:
        HarnessError: it is none of these, or holds nothing to measure.
    """
    node = dict(given) if isinstance(given, Mapping) else {"path": str(given)}
    if not isinstance(given, Mapping) and str(given) in _generated():
        node = {KIND: str(given)}
    most = node.pop("rows", ROWS)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise HarnessError(f"task.retain.rows must be a whole number, 1 or more, not {most!r}.")
    if KIND in node:
        return _of_task(node, most)
    for key in node:
        if key not in KEYS:
            raise HarnessError(f"task.retain takes no {key}. {nearest(str(key), KEYS)} It is {FORMS}.")
    if not node.get("path"):
        raise HarnessError(f"task.retain names no file. It is {FORMS}.")
    found = _of_file(node)
    return Retained(_spread(found.texts, most), _spread(found.questions, most))


def _generated() -> tuple[str, ...]:
    """Return the kinds of tasks that generate their rows."""
    return tuple(name for name, kind in KINDS.items() if kind.section == "task" and name.startswith("demo"))


def _of_file(node: Mapping[str, Any]) -> Retained:
    path = expanded(str(node["path"]))
    columns = {name: str(node[name]) for name in COLUMNS if node.get(name)}
    if not columns and path.suffix.lower() not in SUFFIXES:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise HarnessError(
                f"task.retain={node['path']} cannot be read ({error.strerror or error}). It is {FORMS}."
            ) from error
        whole = "\n".join(line.strip() for line in _decoded(content, path.name).strip().splitlines())
        parts = whole.split("\n\n" if "\n\n" in whole else "\n")
        texts = tuple(" ".join(part.split()) for part in parts if len(part.split()) > 1)
        if not texts:
            raise HarnessError(
                f"task.retain={node['path']} holds no text of two words or more: name a file of paragraphs, an empty "
                "line between two, or of one text a line."
            )
        return Retained(texts)
    if "choices" not in columns and {"prompt", "completion"} & {*columns}:
        raise HarnessError(
            "task.retain: questions are answered by the likeliest of given choices: name their column "
            "(task.retain.choices), or one of plain text (task.retain.text)."
        )
    form = Form(text=columns.get("text", "text"))
    if "choices" in columns:
        form = Form(
            prompt=columns.get("prompt", "prompt"),
            completion=columns.get("completion", "completion"),
            choices=columns["choices"],
        )
    try:
        table = read_table(path, FileFormat(), every=True)
        rows = form.read(dict(zip(table.names, table.columns, strict=True)), path.name).rows
    except HarnessError as error:
        raise HarnessError(*(f"task.retain: {without_settings(each)}" for each in error.problems)) from error
    return Retained((), tuple(rows)) if "choices" in columns else Retained(tuple(row.completion for row in rows))


def _decoded(content: bytes, name: str) -> str:
    try:
        return decode(content, "utf-8", name)
    except HarnessError as error:
        raise HarnessError(*(f"task.retain: {without_settings(each)}" for each in error.problems)) from error


def _of_task(node: dict[str, Any], most: int) -> Retained:
    """Return the test rows of a task whose rows have choices or classes, as questions."""
    kind = str(node[KIND])
    # The rows of the others are images, or have an answer for each word.
    known = [
        name for family in families().values() if family.reads == "text" and not family.tokens for name in family.kinds
    ]
    if kind not in known:
        raise HarnessError(f"task.retain: {kind} is no kind of task whose rows are questions. {nearest(kind, known)}")
    if "retain" in node:
        raise HarnessError("task.retain: what is kept has no task.retain of its own: leave it out.")
    node.setdefault("name", "retained")
    node.setdefault("metric", "loss")
    try:
        data: Dataset = build(node).load()
    except HarnessError as error:
        raise HarnessError(*(f"task.retain: {each}" for each in error.problems)) from error
    questions = _questions(data, data.test)
    if not questions:
        raise HarnessError(
            f"task.retain: a task of the kind {kind} has neither classes nor choices, so none of its answers is the "
            "likeliest. Name a classification task, one with choices, or a file of general texts."
        )
    return Retained((), _spread(questions, most))


def _questions(data: Dataset, split: Split) -> tuple[Conversation, ...]:
    if isinstance(split, GenerationSplit):
        return tuple(replace(row, prompt=row.shown, slots=()) for row in split.rows if row.choices)
    labels = getattr(data, "labels", None)
    if not labels:
        return ()
    seconds: Sequence[str | None] = split.pairs or [None] * len(split)
    choices = tuple(f" {label}" for label in labels)
    return tuple(
        Conversation(f"Text: {text if other is None else f'{text} / {other}'}\nLabel:", choices[int(target)], choices)
        for text, other, target in zip(split.texts, seconds, split.targets, strict=True)
    )


def _spread(rows: tuple[Any, ...], most: int) -> tuple[Any, ...]:
    if not rows:
        return ()
    places = np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)
    return tuple(rows[place] for place in places)
