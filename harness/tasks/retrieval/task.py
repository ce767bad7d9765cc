"""Retrieval tasks: queries with the passages that answer them, from files or a hub data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from harness.data.readers.file_formats import FORMATS, expanded
from harness.data.readers.rows import Hub, open_hub
from harness.data.text_values import as_text, check_text, plain, shown
from harness.errors import HarnessError, Problems, nearest
from harness.tasks.retrieval.assembly import assemble
from harness.tasks.retrieval.data import RetrievalData
from harness.tasks.retrieval.rows import ColumnNames, of_columns, read_collection, read_queries
from harness.tasks.retrieval.settings import RetrievalSettings
from harness.tasks.text_source import TextSource, one_name

Found = tuple[dict[str, pd.DataFrame], dict[str, str] | None, str]


@dataclass(kw_only=True)
class RetrievalTask(RetrievalSettings):
    """A retrieval task. Subclasses define the source of its rows."""

    def load(self) -> RetrievalData:
        """Read, check and split the data. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        frames, collection, source = self.read()
        return assemble(self, frames, collection, source)

    def read(self) -> Found:
        """Return rows (see `of_columns`) by given split, at least `train`; the passages by id; the source's name.

        The passages are None if rows have their texts.

        Raises:
            HarnessError: they are not available.
        """
        raise NotImplementedError


@dataclass(kw_only=True)
class Retrieval(RetrievalTask, TextSource):
    """Queries and passages from files or a hub data set; see `TextSource` for where they come from.

    `text` and `label` name the columns of queries and of passages, or of the ids of passages if there is a file of
    these (`passages`).
    """

    refused: ClassVar[tuple[str, ...]] = ("label_names",)  # inherited fields without a meaning, which are not advised

    text: str = "query"
    label: str = "passage"
    negatives: Any = None  # the column of passages that are not relevant, or a list of columns; null: none
    gain: str | None = None  # the column that says how relevant a passage is, 0 or more; null: each is as relevant
    passages: str | None = None  # a file with all passages; null: all passages of the rows
    passage_id: str = "id"  # its columns
    passage_text: str = "text"

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.normalize_source()
        for key in ("text", "gain", "passage_id", "passage_text"):
            setattr(self, key, one_name(getattr(self, key)))
        self.passages = plain(self.passages)

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        self.check_source(problems)
        problems.check(
            self.label_names is None,
            f"task.label_names names classes, and task {self.name} has passages: leave it out.",
        )
        check_text(problems, "task.passages", self.passages, "one path", optional=True)
        for key in ("gain", "passage_id", "passage_text"):
            check_text(problems, f"task.{key}", getattr(self, key), "the name of a column", optional=key == "gain")

    def _check_columns(self, problems: Problems) -> None:
        named = {"text": self.text, "label": self.label}
        for key, holds in (("text", "the queries"), ("label", "the passages, or of their ids")):
            problems.check(
                isinstance(named[key], str | bool) and named[key] != "",
                f"task.{key} names one column, that of {holds}, not {shown(named[key])}.",
            )
        several = self.negative_columns()
        problems.check(
            all(isinstance(name, str | bool) and name != "" for name in several) and len(set(several)) == len(several),
            f"task.negatives names the column of negatives, or a list of different columns, not "
            f"{shown(self.negatives)}.",
        )
        every = [plain(name) for name in (self.text, self.label, self.gain, *several) if name is not None]
        twice = sorted({str(name) for name in every if isinstance(name, str) and every.count(name) > 1})
        problems.check(
            not twice or len(set(several)) < len(several),
            f"task.text, label, gain and negatives name the column {', '.join(twice)} twice: each has one of its own.",
        )

    def negative_columns(self) -> tuple[Any, ...]:
        """Return the columns of negatives."""
        if self.negatives is None:
            return ()
        listed = isinstance(self.negatives, Sequence) and not isinstance(self.negatives, str)
        return tuple(as_text(name) for name in (self.negatives if listed else [self.negatives]))

    def read(self) -> Found:
        """Read the given splits, and the passages."""
        names = ColumnNames(self.text, self.label, self.negative_columns(), self.gain, self.group)
        how, problems = self.file_format(), Problems()
        paths, source = self.files_of_splits()
        frames: dict[str, pd.DataFrame] = {}
        if "train" not in paths:
            if self.hub is None:
                raise HarnessError(self._no_source(self.name))
            frames, source = self._of_hub(names), self.hub_source()
        for split, path in paths.items():
            try:
                frames[split] = read_queries(path, names, how)
            except HarnessError as error:
                problems.extend(error)
        collection: dict[str, str] | None = None
        if self.passages is not None:
            notes: list[str] = []
            try:
                collection = read_collection(expanded(self.passages), self.passage_id, self.passage_text, notes)
            except HarnessError as error:
                problems.extend(error)
            for frame in frames.values():
                frame.attrs["notes"] = [*frame.attrs.get("notes", ()), *notes]
        problems.raise_any()
        return frames, collection, source

    def _of_hub(self, names: ColumnNames) -> dict[str, pd.DataFrame]:
        hub = Hub(**(self.hub or {}))
        loaded, given = open_hub(hub, self.name)
        own = ColumnNames(hub.text or names.query, hub.label or names.passage, names.negatives, names.gain, names.group)
        found = {}
        for split, called in given.items():
            data, where = loaded[called], f"{hub.id} ({called})"
            wanted = [str(plain(name)) for name in own.wanted]
            if lacks := [name for name in wanted if name not in data.column_names]:
                raise HarnessError(
                    f"{where} has no column {lacks[0]!r}. {nearest(lacks[0], data.column_names)} Choose with "
                    "task.hub.text and task.hub.label."
                )
            found[split] = of_columns({name: list(data[name]) for name in wanted}, own, where)
        return found

    def _no_source(self, name: str) -> str:
        if not self.folder:
            return (
                f"Task {name} needs a file of queries with their passages: task.path=FILE ({', '.join(FORMATS)}), with "
                "task.text and task.label naming its columns."
            )
        return super()._no_source(name)
