"""Token tagging tasks: words with tags, from files or a hub data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.api.metric import Metric
from harness.data.readers.rows import Hub, open_hub
from harness.data.text_values import as_text, check_text, shown
from harness.errors import HarnessError, Problems, nearest
from harness.tasks.text_settings import TextSettings
from harness.tasks.text_source import TextSource
from harness.tasks.token_tagging.assembly import assemble
from harness.tasks.token_tagging.conll import FIRST, LAST
from harness.tasks.token_tagging.data import TaggingData
from harness.tasks.token_tagging.entities import SCHEMES
from harness.tasks.token_tagging.metrics import METRICS
from harness.tasks.token_tagging.rows import FORMAT, Rows, is_conll, of_columns, read_columns, read_words

PIECES = ("first", "last")


@dataclass(kw_only=True)
class TaggingTask(TextSettings):
    """A tagging task. Subclasses define the source of its rows."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    metric: str = "entity_f1"
    scheme: str | None = None  # one of `SCHEMES`; null: by the prefixes of the tags
    repair: bool = False  # write tags that break the scheme anew, from the entities that they are read as
    piece: str | None = None  # first | last: the piece of a word that is tagged; null: by the model
    max_length: int = 128  # tokens a window; longer rows are read in several, which overlap

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for name, known in (("scheme", SCHEMES), ("piece", PIECES)):
            value = getattr(self, name)
            if check_text(problems, f"task.{name}", value, f"one of {', '.join(known)}", optional=True):
                problems.check(value is None or value in known, f"Unknown task.{name} {value}. {nearest(value, known)}")
        problems.check(isinstance(self.repair, bool), f"task.repair must be true or false, not {self.repair!r}.")

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number: a window needs room for words that overlap."""
        return super().least_values() | {"max_length": 8}

    def load(self) -> TaggingData:
        """Read, check and split the data. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        rows, source = self.read()
        return assemble(self, rows, source, self.scheme, self.repair, self.piece)

    def read(self) -> tuple[dict[str, Rows], str]:
        """Return the rows by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: the rows are not available.
        """
        raise NotImplementedError


@dataclass(kw_only=True)
class TokenTagging(TaggingTask, TextSource):
    """Words with tags, or texts with spans, from files or a hub data set; see `TextSource` for where they come from.

    `text` and `label` name the columns of words and tags, in CoNLL files also by number.
    """

    own_formats: ClassVar[tuple[str, ...]] = (FORMAT,)

    text: str = FIRST
    label: str = LAST

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.normalize_source()
        self.text = as_text(self.text)
        self.scheme = self.scheme.upper() if isinstance(self.scheme, str) else self.scheme

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        self.check_source(problems)

    def _check_columns(self, problems: Problems) -> None:
        for key, holds in (("text", "the words or texts"), ("label", "the tags or spans")):
            value = getattr(self, key)
            named = isinstance(value, str) and value != ""
            problems.check(named, f"task.{key} names one column, that of {holds}, not {shown(value)}.")
        problems.check(self.label != self.text, f"task.label and task.text both name the column {shown(self.text)}.")

    def read(self) -> tuple[dict[str, Rows], str]:
        """Read the given splits."""
        paths, source = self.files_of_splits()
        found: dict[str, Rows] = {}
        if "train" not in paths:
            if self.hub is None:
                raise HarnessError(self._no_rows())
            found, source = self._of_hub(), self.hub_source()
        problems = Problems()
        for split, path in paths.items():
            try:
                found[split] = self._of_file(path)
            except HarnessError as error:
                problems.extend(error)
        problems.raise_any()
        return found, source

    def _of_file(self, path: Path) -> Rows:
        how, names = self.file_format(), self.label_names or {}
        if not is_conll(path, how):
            return read_columns(path, how, self.text, self.label, names)
        found = read_words(path, how, self.text, self.label)
        return found if not names else found.renamed(names)

    def _of_hub(self) -> dict[str, Rows]:
        hub = Hub(**(self.hub or {}))
        loaded, splits = open_hub(hub, self.name)
        text, label = str(hub.text or self.text), str(hub.label or self.label)
        found = {}
        for split, given in splits.items():
            data, where = loaded[given], f"{hub.id} ({given})"
            if lacks := [name for name in (text, label) if name not in data.column_names]:
                raise HarnessError(
                    f"{where} has no column {lacks[0]!r}. {nearest(lacks[0], data.column_names)} Choose with "
                    "task.hub.text and task.hub.label."
                )
            named = getattr(getattr(data.features[label], "feature", None), "names", None) or ()
            names: dict[str, Any] = {str(place): name for place, name in enumerate(named)}
            names |= dict(hub.label_names or self.label_names or {})
            found[split] = of_columns(list(data[text]), list(data[label]), where, text, label, names)
        return found

    def _no_rows(self) -> str:
        if not self.folder:
            return (
                f"Task {self.name} needs a file of tagged words: task.path=FILE, of a word a line (task.format=conll) "
                "or of rows (jsonl, json, parquet), with task.text and task.label naming the columns of words and tags."
            )
        return (
            f"The data of task {self.name} are not here. Set HARNESS_DATA to a folder that holds "
            f"{self.folder}/{(self.files or {})['train']}, or name your own file with task.path=FILE."
        )
