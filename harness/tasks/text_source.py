"""Where the rows of text tasks come from: files, a directory in $HARNESS_DATA, or a hub data set, and their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from harness.data.readers.delimited import separator_of
from harness.data.readers.encodings import encoding_problem
from harness.data.readers.file_formats import FORMATS, FileFormat, expanded
from harness.data.readers.rows import SPLITS, Hub, data_folder, read_hub, read_rows
from harness.data.text_values import as_text, check_mapping, check_text, plain, shown, truth
from harness.errors import HarnessError, Problems, nearest


@dataclass(kw_only=True)
class TextSource:
    """The fields of a task that say where its texts, or pairs of texts, and their labels come from.

    Rows come from `path` (and `validation_path`, `test_path`) if given, else from `$HARNESS_DATA/<folder>` if it
    exists, else from `hub`. A `validation_path` or `test_path` alone replaces that split.
    """

    own_formats: ClassVar[tuple[str, ...]] = ()  # of files that only this family reads

    path: str | None = None  # training rows: a file, relative to the current directory
    validation_path: str | None = None  # validation rows; null: see `validation`
    test_path: str | None = None  # test rows; null: held out of the training rows
    folder: str | None = None  # folder in $HARNESS_DATA
    files: Mapping[str, str] | None = None  # train, validation, test: file names in `folder`
    hub: Mapping[str, Any] | None = None  # the fields of harness.data.readers.rows.Hub
    text: str | Sequence[str] = "text"  # name of the text column, or of two for pairs
    label: str = "label"  # name of the label column
    group: str | None = None  # name of the column that says which rows belong together
    format: str | None = None  # csv | tsv | lines | jsonl | json | parquet | arrow | arff; null: from the suffix
    encoding: str = "utf-8"  # of text files
    separator: str | None = None  # between fields; null: comma, or tab for tsv and lines
    columns: Sequence[str] | None = None  # column names of files without a header
    quoting: bool = True  # whether double quotes enclose fields
    label_names: Mapping[str, str] | None = None  # raw label in a file: class name

    def normalize_source(self) -> None:
        """Convert numbers to text, `[name]` to the name, and `quoting` from YAML's spellings to a boolean."""
        if isinstance(self.columns, list | tuple):
            self.columns = [plain(name) for name in self.columns]
        self.label = one_name(self.label)
        self.group = None if self.group is None else one_name(self.group)
        self.format = self.format.lower() if isinstance(self.format, str) else self.format
        self.quoting = truth(self.quoting)
        for name in ("files", "hub"):
            if isinstance(value := getattr(self, name), Mapping):
                setattr(self, name, {plain(key): as_text(each) for key, each in value.items()})

    def check_source(self, problems: Problems) -> None:
        """Report every invalid field."""
        for key in ("path", "validation_path", "test_path", "folder"):
            check_text(problems, f"task.{key}", getattr(self, key), "one path", optional=True)
        self._check_columns(problems)
        self._check_group(problems)
        self._check_header(problems)
        self._check_format(problems)
        check_mapping(problems, "task.label_names", self.label_names, "the name of the class")
        if check_mapping(problems, "task.files", self.files, "the name of a file"):
            self._check_files(problems)
        if self.hub is not None:
            self._check_hub(problems)

    def _check_columns(self, problems: Problems) -> None:
        texts = _listed(self.text)
        problems.check(
            len(texts) in (1, 2) and all(_is_name(name) for name in texts) and len(set(texts)) == len(texts),
            f"task.text names one column, or two for text pairs, not {shown(self.text)}.",
        )
        problems.check(
            _is_name(self.label), f"task.label names one column, that of the labels, not {shown(self.label)}."
        )
        problems.check(self.label not in texts, f"task.label and task.text both name the column {plain(self.label)!r}.")
        problems.check(
            self.group is None or self.group != self.label,
            f"task.group and task.label both name the column {plain(self.label)!r}, and rows with one label are no "
            "group: name the column of what rows have in common besides, such as a customer or a document.",
        )

    def _check_group(self, problems: Problems) -> None:
        problems.check(
            self.group is None or _is_name(self.group),
            f"task.group names one column, that of the groups of rows that belong together, not {shown(self.group)}.",
        )

    def _check_header(self, problems: Problems) -> None:
        if self.columns is not None:
            listed = isinstance(self.columns, list | tuple) and all(_is_name(name) for name in self.columns)
            if problems.check(
                listed and len(self.columns) > 0,
                f"task.columns lists the names of a file's columns, task.columns=[text,label], not "
                f"{shown(self.columns)}.",
            ) and len(set(self.columns)) < len(self.columns):
                problems.add(f"task.columns names a column twice: {', '.join(map(str, self.columns))}.")

    def _check_format(self, problems: Problems) -> None:
        known = (*self.own_formats, *FORMATS)
        if check_text(problems, "task.format", self.format, f"one of {', '.join(known)}", optional=True):
            problems.check(
                self.format is None or self.format in known,
                f"Unknown task.format {self.format}. {nearest(self.format, known)}",
            )
        if check_text(problems, "task.encoding", self.encoding, "an encoding such as utf-8") and (
            problem := encoding_problem(self.encoding)
        ):
            problems.add(problem)
        if check_text(problems, "task.separator", self.separator, "a character", optional=True):
            try:
                separator_of(self.separator, self.format if self.format in FORMATS else "lines")
            except HarnessError as error:
                problems.extend(error)
        problems.check(
            isinstance(self.quoting, bool), f"task.quoting must be true or false, not {shown(self.quoting)}."
        )

    def _check_files(self, problems: Problems) -> None:
        files = self.files or {}
        if isinstance(self.folder, str) and "train" not in files:
            problems.add("task.folder needs task.files.train, the file's name in the folder.")
        if unknown := [split for split in files if split not in SPLITS]:
            problems.add(f"task.files names the unknown split {unknown[0]}. {nearest(unknown[0], SPLITS)}")

    def _check_hub(self, problems: Problems) -> None:
        known = Hub.__dataclass_fields__
        if not isinstance(self.hub, Mapping):
            problems.add(f"task.hub takes a mapping with the keys {', '.join(known)}, not {shown(self.hub)}.")
            return
        for key in self.hub:
            problems.check(key in known, f"Unknown key task.hub.{key}. {nearest(str(key), known)}")
        for key in ("id", "revision", "config"):
            check_text(problems, f"task.hub.{key}", self.hub.get(key), "one text", optional=True)
        text = self.hub.get("text")
        problems.check(
            text is None or all(_is_name(name) for name in _listed(text)),
            f"task.hub.text names one column, or two for text pairs, not {shown(text)}.",
        )
        label = self.hub.get("label")
        problems.check(label is None or _is_name(label), f"task.hub.label names one column, not {shown(label)}.")
        check_mapping(problems, "task.hub.label_names", self.hub.get("label_names"), "the name of the class")
        if check_mapping(problems, "task.hub.splits", self.hub.get("splits"), "the hub's name of the split"):
            for split in self.hub.get("splits") or {}:
                problems.check(split in SPLITS, f"task.hub.splits names no split {split}. {nearest(split, SPLITS)}")
        if not self.path:
            problems.check(bool(self.hub.get("id")), "task.hub.id is missing: the hub data set's owner/name.")

    def read_source(self, name: str) -> tuple[dict[str, pd.DataFrame], str]:
        """Read the given splits.

        Args:
            name: of the task, for messages.

        Returns:
            Rows (see `harness.data.readers.rows.to_rows`) by split, at least `train`, and the name of their source.

        Raises:
            HarnessError: the rows are not available.
        """
        texts, label_names = _listed(self.text), self.label_names or {}
        how = self.file_format()
        paths, source = self.files_of_splits()
        frames: dict[str, pd.DataFrame] = {}
        if "train" not in paths:
            if self.hub is None:
                raise HarnessError(self._no_source(name))
            frames = read_hub(Hub(**self.hub), texts, self.label, name, self.group)
            source = self.hub_source()
        problems = Problems()
        for split, path in paths.items():
            try:
                frames[split] = read_rows(path, texts, self.label, how, label_names, self.group)
            except HarnessError as error:
                problems.extend(error)
        problems.raise_any()
        return frames, source

    def files_of_splits(self) -> tuple[dict[str, Path], str]:
        """Return the file of each split that is on this machine, and what the training rows are called."""
        own = dict(zip(SPLITS, (self.path, self.validation_path, self.test_path), strict=True))
        paths = {split: expanded(path) for split, path in own.items() if path}
        if "train" in paths:
            return paths, paths["train"].name
        files = self.files or {}
        if folder := data_folder(self.folder):
            return {split: folder / name for split, name in files.items()} | paths, f"{self.folder}/{files['train']}"
        return paths, ""

    def hub_source(self) -> str:
        """Return what the rows of the hub's data set are called."""
        hub = Hub(**(self.hub or {}))
        return f"{hub.id}@{hub.revision}" if hub.revision else hub.id

    def file_format(self) -> FileFormat:
        """Return how the files are read."""
        return FileFormat(
            format=self.format, encoding=self.encoding, separator=self.separator, columns=self.columns,
            quoting=self.quoting,
        )  # fmt: skip

    def _no_source(self, name: str) -> str:
        if not self.folder:
            return (
                f"Task {name} needs a file of labelled rows: task.path=FILE ({', '.join(FORMATS)}), with "
                "task.text and task.label naming its columns."
            )
        return (
            f"The data of task {name} are not here, and no hub data set is known for it. Set HARNESS_DATA to a "
            f"folder that holds {self.folder}/{(self.files or {})['train']}, or name your own file with task.path=FILE."
        )


def _listed(names: Any) -> list[Any]:
    return [as_text(name) for name in names] if isinstance(names, list | tuple) else [as_text(names)]


def one_name(value: Any) -> Any:
    """Return the only element of a list of one name, a number as text; other values unchanged."""
    return as_text(value[0] if isinstance(value, list | tuple) and len(value) == 1 else value)


def _is_name(value: Any) -> bool:
    """Return whether a value can name a column: a string, or a boolean, spelled as in the file's header."""
    return isinstance(value, bool) or (isinstance(value, str) and value != "")
