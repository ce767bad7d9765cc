"""A loaded tagging data set: sentences of words, each with a tag. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Dataset, Split

OUTSIDE = "O"  # tag of words that belong to no entity


@dataclass(frozen=True)
class Sentence:
    """A row: its words, and where they are in its text.

    Attributes:
        text: the text; of rows that were given as words, these with single spaces between them.
        words: w words.
        starts: (w,) position of each word in the text, in characters.
        given: whether the row was given as words, so that answers are tags; else answers are spans of the text.
    """

    text: str
    words: tuple[str, ...]
    starts: tuple[int, ...]
    given: bool = True

    @classmethod
    def of_words(cls, words: Sequence[str]) -> Sentence:
        """Make the sentence of words."""
        lengths = np.cumsum([0, *(len(word) + 1 for word in words)])
        return cls(" ".join(words), tuple(words), tuple(int(start) for start in lengths[:-1]))

    @property
    def ends(self) -> tuple[int, ...]:
        """Return the position after each word, in characters."""
        return tuple(start + len(word) for start, word in zip(self.starts, self.words, strict=True))


@dataclass(frozen=True)
class TagSplit(Split):
    """A split whose targets (n,) are tuples of tags, one for each word.

    Attributes:
        sentences: the n rows.
    """

    sentences: tuple[Sentence, ...] = ()

    def take(self, rows: npt.NDArray[np.int64], name: str) -> TagSplit:
        """Return a split of some rows, under another name."""
        return split_of(name, [self.sentences[row] for row in rows], self.targets[rows].tolist(), self.ids[rows])


def split_of(name: str, sentences: Iterable[Sentence], tags: Iterable[Sequence[str]], ids: Iterable[int]) -> TagSplit:
    """Make a split of sentences and their tags."""
    rows = tuple(sentences)
    return TagSplit(
        name=name,
        texts=[row.text for row in rows],
        pairs=None,
        targets=as_objects([tuple(each) for each in tags]),
        ids=np.fromiter(ids, dtype=np.int64, count=len(rows)),
        sentences=rows,
    )


def as_objects(values: Sequence[object]) -> npt.NDArray[np.object_]:
    """Return values, such as tuples, as an array (n,) of objects."""
    found = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        found[place] = value
    return found


@dataclass(frozen=True, kw_only=True)
class TaggingData(Dataset):
    """A data set whose rows have a tag a word.

    Attributes:
        tags: the C tags, in the order of the head's outputs.
        scheme: one of `harness.tasks.token_tagging.entities.SCHEMES`.
        piece: first | last: which piece of a word is tagged; None: the first, and the last in models that read from
            left to right.
    """

    family: ClassVar[str] = "token_tagging"

    tags: tuple[str, ...]
    scheme: str
    piece: str | None = None

    def needed(self, split: Split) -> npt.NDArray[np.int64]:
        """Return one row with an entity, without which there is nothing to fit."""
        found = (row for row, tags in enumerate(split.targets) if any(tag != OUTSIDE for tag in tags))
        return np.fromiter(found, dtype=np.int64)[:1]
