"""What an augmentation is, and how training rows get their copies. Nothing else is ever augmented."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Split
from harness.errors import Problems
from harness.records.signature import digest

Generator = np.random.Generator


@dataclass(frozen=True)
class AugmentationContext:
    """What an augmentation may use besides the texts.

    Attributes:
        embed: L2-normalised features (n, d) of n texts, of the run's own frozen backbone.
        device: where networks compute.
        cache_dir: where what is generated is kept.
        say: takes lines for the user.
        charge: takes the seconds that making something took which now came out of a cache, so that no run looks
            cheaper for coming later.
    """

    embed: Callable[[list[str]], npt.NDArray[np.float32]]
    device: str
    cache_dir: Path
    say: Callable[[str], None]
    charge: Callable[[float], None]


@dataclass(kw_only=True)
class Augmentation(ABC):
    """One way to make more rows of the training rows.

    Attributes:
        name: the file's name in conf/augment.
        copies: of each training row; one that equals its row or another copy of it is left out.
    """

    name: str
    copies: int = 1

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            HarnessError: some break their rules; says which.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()

    def check(self, problems: Problems) -> None:
        """Note every field that breaks its rule."""
        problems.whole(f"augment.{self.name}.copies", self.copies)

    def share(self, key: str, value: Any, problems: Problems) -> None:
        """Note a share that does not lie in [0, 1]."""
        good = not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= 1
        problems.check(good, f"augment.{self.name}.{key} must lie in [0, 1], not {value}.")

    def ready(self, cache_dir: Path) -> list[str]:
        """Find what it needs before any run starts; give the digests of the models that it uses.

        Raises:
            HarnessError: something is out of reach.
        """
        return []

    @abstractmethod
    def prepare(self, texts: Sequence[str], around: AugmentationContext) -> Callable[[str, Generator], list[str]]:
        """Look at all training texts once.

        Args:
            texts: of the training rows, both of a pair.
            around: what else is there.

        Returns:
            Makes `copies` copies of one of the texts, out of a generator of its own.
        """

    def facts(self) -> dict[str, Any]:
        """What a record should say about how the copies were made, after `prepare`; JSON-able."""
        return {}


def augmented(
    split: Split, augmentations: Mapping[str, Augmentation], seed: int, around: AugmentationContext
) -> tuple[Split, dict[str, Any]]:
    """Training rows with their copies behind them, and what was done.

    Each augmentation copies the rows of the task, not the copies of another. A copy is a function of the run's seed,
    the augmentation's settings and its row's place, whatever was computed before.

    Args:
        split: training rows; of a fold, its own.
        augmentations: by name.
        seed: of the run.
        around: see `AugmentationContext`.

    Returns:
        The rows, then the copies, each with its row's label and id; and counts by augmentation.
    """
    texts, pairs = list(split.texts), None if split.pairs is None else list(split.pairs)
    origins = list(range(len(split)))
    facts: dict[str, Any] = {}
    for name, augmentation in augmentations.items():
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
    content = digest([texts[len(split) :], None if pairs is None else pairs[len(split) :]])
    rows = np.array(origins, dtype=np.int64)
    made = replace(
        split, texts=texts, pairs=pairs, labels=split.labels[rows], ids=split.ids[rows], augmentation=content
    )
    return made, facts
