"""Recommendation tasks: interactions of users with items, from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.data.readers.advice import without_settings
from harness.data.readers.delimited import separator_of
from harness.data.readers.encodings import encoding_problem
from harness.data.readers.file_formats import FORMATS, FileFormat, expanded
from harness.data.readers.rows import SPLITS, data_folder
from harness.data.text_values import as_text, check_mapping, check_text, plain, shown, truth
from harness.errors import HarnessError, Problems, nearest
from harness.tasks.recommendation.assembly import assemble
from harness.tasks.recommendation.data import RecommendationData
from harness.tasks.recommendation.interactions import ColumnNames, read_interactions, read_titles
from harness.tasks.recommendation.settings import RecommendationSettings

TABLES = tuple(name for name in FORMATS if name != "lines")
ITEMS = "items"  # key of `files`: the texts of items


@dataclass(kw_only=True)
class RecommendationTask(RecommendationSettings):
    """A recommendation task. Subclasses define the source of its interactions."""

    def load(self) -> RecommendationData:
        """Read, check and split the data. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        frames, titles, source = self.read()
        return assemble(self, frames, titles, source)

    def read(self) -> tuple[dict[str, pd.DataFrame], dict[str, str], str]:
        """Return interactions by given split, texts of items, and the name of their source.

        Raises:
            HarnessError: they are not available.
        """
        raise NotImplementedError


@dataclass(kw_only=True)
class Recommendation(RecommendationTask):
    """Interactions from files: `path`, or else those of `folder` in $HARNESS_DATA."""

    path: str | None = None  # all interactions, or those to train on
    validation_path: str | None = None  # interactions that select; null: held out
    test_path: str | None = None  # interactions to test on; null: held out
    items_path: str | None = None  # texts of items; null: none
    folder: str | None = None  # folder in $HARNESS_DATA
    files: Mapping[str, str] | None = None  # train, validation, test, items: file names in `folder`
    user: str = "user"  # columns
    item: str = "item"
    rating: str | None = None
    item_id: str = "item"  # columns of the texts of items
    item_text: str = "title"
    format: str | None = None
    encoding: str = "utf-8"
    separator: str | None = None
    columns: Sequence[str] | None = None
    quoting: bool = True

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        for key in ("user", "item", "time", "rating", "item_id", "item_text"):
            setattr(self, key, as_text(getattr(self, key)))
        if isinstance(self.columns, list | tuple):
            self.columns = [plain(name) for name in self.columns]
        self.quoting = truth(self.quoting)

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for key in ("path", "validation_path", "test_path", "items_path", "folder"):
            check_text(problems, f"task.{key}", getattr(self, key), "one path", optional=True)
        named = []
        for key in ("user", "item", "time", "rating", "item_id", "item_text"):
            value = getattr(self, key)
            if check_text(problems, f"task.{key}", value, "the name of a column", optional=key in ("time", "rating")):
                named.append((key, value))
        own = [value for key, value in named if not key.startswith("item_") and value is not None]
        problems.check(
            len(set(own)) == len(own), f"task.user, item, time and rating name a column twice: {', '.join(own)}."
        )
        problems.check(
            self.min_rating is None or self.rating is not None,
            f"task.min_rating={self.min_rating} needs ratings: name their column with task.rating.",
        )
        if check_mapping(problems, "task.files", self.files, "the name of a file"):
            for split in self.files or {}:
                known = (*SPLITS, ITEMS)
                problems.check(split in known, f"task.files names the unknown file {split}. {nearest(split, known)}")
            problems.check(
                self.folder is None or "train" in (self.files or {}),
                "task.folder needs task.files.train, the file's name in the folder.",
            )
        if check_text(problems, "task.format", self.format, f"one of {', '.join(TABLES)}", optional=True):
            problems.check(
                self.format is None or self.format in TABLES,
                f"Unknown task.format {self.format}. {nearest(self.format, TABLES)}",
            )
        if check_text(problems, "task.encoding", self.encoding, "an encoding such as utf-8") and (
            problem := encoding_problem(self.encoding)
        ):
            problems.add(problem)
        if check_text(problems, "task.separator", self.separator, "a character", optional=True):
            try:
                separator_of(self.separator, self.format or "csv")
            except HarnessError as error:
                problems.extend(error)
        listed = self.columns is None or (isinstance(self.columns, list | tuple) and len(self.columns) > 0)
        problems.check(
            listed and all(isinstance(name, str) and name for name in self.columns or ()),
            f"task.columns lists the names of a file's columns, task.columns=[user,item], not {shown(self.columns)}.",
        )
        problems.check(
            isinstance(self.quoting, bool), f"task.quoting must be true or false, not {shown(self.quoting)}."
        )

    def read(self) -> tuple[dict[str, pd.DataFrame], dict[str, str], str]:
        """Read the given files."""
        paths, items, source = self._paths()
        how = FileFormat(
            format=self.format, encoding=self.encoding, separator=self.separator, columns=self.columns,
            quoting=self.quoting,
        )  # fmt: skip
        names = ColumnNames(self.user, self.item, self.time, self.rating)
        problems, frames, titles = Problems(), dict[str, pd.DataFrame](), dict[str, str]()
        for split, path in paths.items():
            notes: list[str] = []
            try:
                frames[split] = read_interactions(path, names, how, notes)
                frames[split].attrs["notes"] = notes
            except HarnessError as error:
                problems.messages.extend(map(_of_interactions, error.problems))
        if items is not None:
            try:
                titles = read_titles(items, self.item_id, self.item_text, FileFormat(), [])
            except HarnessError as error:
                problems.messages.extend(map(_of_items, error.problems))
        problems.raise_any()
        return frames, titles, source

    def _paths(self) -> tuple[dict[str, Path], Path | None, str]:
        own = dict(zip(SPLITS, (self.path, self.validation_path, self.test_path), strict=True))
        paths = {split: expanded(path) for split, path in own.items() if path}
        items = expanded(self.items_path) if self.items_path else None
        if "train" in paths:
            return paths, items, paths["train"].name
        files = self.files or {}
        if folder := data_folder(self.folder):
            found = {split: folder / name for split, name in files.items() if split != ITEMS}
            items = items or (folder / files[ITEMS] if ITEMS in files else None)
            return found | paths, items, f"{self.folder}/{files['train']}"
        ways = (
            f"Set HARNESS_DATA to a folder that holds {self.folder}/{files['train']}, or name your own file with "
            "task.path=FILE."
            if self.folder
            else f"task.path=FILE ({', '.join(TABLES)}), with task.user, task.item and task.time naming its columns."
        )
        raise HarnessError(f"Task {self.name} needs a file of interactions, a row each. {ways}")


def _of_interactions(message: str) -> str:
    """Name the keys of this family in a message of the readers of texts."""
    message = message.replace("task.text and task.label", "task.user, task.item, task.time and task.rating")
    return message.replace("task.columns=[text,label]", "task.columns=[user,item,time]").replace(
        "a text and a label", "a user and an item"
    )


def _of_items(message: str) -> str:
    return without_settings(message, "task.item_id and task.item_text", "an item and a text")
