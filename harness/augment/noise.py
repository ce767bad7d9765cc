"""Typing errors as augmentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.augment.base import Augmentation, AugmentationContext, Generator
from harness.errors import Problems

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # keyboard rows


def _neighbours() -> dict[str, str]:
    found: dict[str, str] = {}
    for number, row in enumerate(ROWS):
        for place, letter in enumerate(row):
            beside = row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
            across = [
                ROWS[other][max(place - 1, 0) : place + 2] for other in (number - 1, number + 1) if 0 <= other < 3
            ]
            found[letter] = beside + "".join(across)
    return found


NEIGHBOURS = _neighbours()


@dataclass(kw_only=True)
class Noise(Augmentation):
    """Some words get a typing error: two letters swapped, or one dropped, doubled, or replaced by an adjacent key.

    Swaps and drops are part of the synthetic noise of Belinkov and Bisk 2018, arXiv:1711.02173; adjacent keys are their
    keyboard typos. A letter outside the Latin alphabet has no known adjacent key and is doubled instead.

    Attributes:
        rate: expected fraction of the words of three or more letters; at least one word.
    """

    rate: float = 0.1

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        super().check(problems)
        self.share("rate", self.rate, problems)

    def prepare(self, texts: Sequence[str], around: AugmentationContext) -> Callable[[str, Generator], list[str]]:
        """Return the copying function; no preparation is needed."""
        return lambda text, generator: [self._copy(text, generator) for _ in range(self.copies)]

    def _copy(self, text: str, generator: Generator) -> str:
        parts = re.split(r"([^\W\d_]{3,})", text)  # the text between words is unchanged
        words = list(range(1, len(parts), 2))
        if not words:
            return text
        chosen = [index for index in words if generator.random() < self.rate]
        for index in chosen or [words[int(generator.integers(len(words)))]]:
            parts[index] = typo(parts[index], generator)
        return "".join(parts)


def typo(word: str, generator: Generator) -> str:
    """Return a word with one error."""
    kind = int(generator.integers(4))
    place = int(generator.integers(len(word) - (kind == 0)))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    beside = NEIGHBOURS.get(word[place].lower(), "") if kind == 2 else ""
    hit = beside[int(generator.integers(len(beside)))] if beside else word[place]
    if beside:
        return word[:place] + (hit.upper() if word[place].isupper() else hit) + word[place + 1 :]
    return word[: place + 1] + word[place:]
