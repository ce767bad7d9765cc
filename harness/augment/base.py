"""The interface of augmentations, and how copies are added to training rows. No other rows are ever augmented."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Split
from harness.errors import Problems
from harness.records.signature import digest

Generator = np.random.Generator
TAUGHT = -1  # id of rows that are not of the task's source


@dataclass(frozen=True)
class AugmentationContext:
    """What an augmentation may use besides the texts.

    Attributes:
        embed: returns L2-normalized features (n, d) of n texts, from the run's own frozen backbone.
        device: where networks compute.
        cache_dir: where generated texts are cached.
        say: called with lines for the user.
        charge: called with the original computing time, in seconds, of results read from a cache, so that no run looks
            cheaper because of the cache.
        labels: the C class names of the task; () without classes.
        held: texts that are evaluated, without letter case and repeated spaces.
        teach: returns the class probabilities (n, C) of a saved model, by its directory and digest, for n texts.
    """

    embed: Callable[[list[str]], npt.NDArray[np.float32]]
    device: str
    cache_dir: Path
    say: Callable[[str], None]
    charge: Callable[[float], None]
    labels: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()
    teach: Callable[[Path, str, list[str]], npt.NDArray[np.float32]] | None = None


@runtime_checkable
class Teaches(Protocol):
    """An augmentation that adds rows with labels of its own, in place of copies."""

    def taught(self, split: Split, seed: int, around: AugmentationContext) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return n texts and their class indices (n,)."""

    def facts(self) -> dict[str, Any]:
        """See `Augmentation`."""


@dataclass(kw_only=True)
class Augmentation(ABC):
    """A way to make additional training rows.

    Attributes:
        name: the file's name in conf/augment.
        copies: number per training row; copies equal to the row or to another of its copies are dropped.
    """

    name: str
    copies: int = 1

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            HarnessError: some fields are invalid; names all of them.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        problems.whole(f"augment.{self.name}.copies", self.copies)

    def share(self, key: str, value: Any, problems: Problems) -> None:
        """Add a problem if a fraction is not in [0, 1]."""
        good = not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= 1
        problems.check(good, f"augment.{self.name}.{key} must lie in [0, 1], not {value}.")

    def ready(self, cache_dir: Path) -> list[str]:
        """Find the required models before any run starts; return their digests.

        Raises:
            HarnessError: a model is not reachable.
        """
        return []

    @abstractmethod
    def prepare(self, texts: Sequence[str], around: AugmentationContext) -> Callable[[str, Generator], list[str]]:
        """Process all training texts once.

        Args:
            texts: of the training rows; of pairs, both texts.
            around: context of the run.

        Returns:
            A function that makes `copies` copies of one of the texts, from a random generator given for it.
        """

    def facts(self) -> dict[str, Any]:
        """Return JSON-serializable facts for the record about how copies were made, after `prepare`."""
        return {}


def augmented(
    split: Split, augmentations: Mapping[str, Augmentation], seed: int, around: AugmentationContext
) -> tuple[Split, dict[str, Any]]:
    """Return training rows with their copies appended, and facts about them.

    Each augmentation copies the rows of the task, not the copies of another augmentation. A copy depends only on the
    run's seed, the augmentation's settings and the index of its row, not on earlier computations.

    Args:
        split: training rows; for a fold, its own.
        augmentations: by name.
        seed: of the run.
        around: see `AugmentationContext`.

    Returns:
        The rows, then the copies, each with its row's target and id, then the rows of a teacher; and counts by
        augmentation.
    """
    texts, pairs = list(split.texts), None if split.pairs is None else list(split.pairs)
    origins = list(range(len(split)))
    facts: dict[str, Any] = {}
    taught_texts, taught_targets = list[str](), list[npt.NDArray[np.int64]]()
    for name, augmentation in augmentations.items():
        if isinstance(augmentation, Teaches):
            more, targets = augmentation.taught(split, seed, around)
            taught_texts += more
            taught_targets.append(targets)
            facts[name] = {"copies": len(more), **augmentation.facts()}
            continue
        make = augmentation.prepare([*split.texts, *(split.pairs or ())], around)
        before = len(texts)
        for row, text in enumerate(split.texts):
            pair = None if split.pairs is None else split.pairs[row]
            seen = {(text, pair)}
            generator = np.random.default_rng(int(digest([seed, "augment", name, split.name, row])[:15], 16))
            firsts = make(text, generator)
            seconds = [None] * len(firsts) if pair is None else make(pair, generator)
            for copy in zip(firsts, seconds, strict=True):
                if copy in seen or not copy[0].strip():
                    continue
                seen.add(copy)
                texts.append(copy[0])
                if pairs is not None:
                    pairs.append(str(copy[1]))
                origins.append(row)
        facts[name] = {"copies": len(texts) - before, **augmentation.facts()}
    content = [texts[len(split) :], None if pairs is None else pairs[len(split) :]]
    rows = np.array(origins, dtype=np.int64)
    targets, ids = split.targets[rows], split.ids[rows]
    if taught_texts:
        drawn = np.concatenate(taught_targets)
        texts, content = [*texts, *taught_texts], [*content, taught_texts, drawn.tolist()]
        targets = np.concatenate([targets, drawn])
        ids = np.concatenate([ids, np.full(len(drawn), TAUGHT, dtype=np.int64)])
    made = replace(split, texts=texts, pairs=pairs, targets=targets, ids=ids, augmentation=digest(content))
    return made, facts
