"""Easy data augmentation (EDA): words are replaced, inserted, swapped or deleted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.augment.base import Augmentation, AugmentationContext, Generator
from harness.errors import Problems

WORD = re.compile(r"[^\W\d_]{3,}")
NEAREST = 5  # maximum number of substitutes per word


@dataclass(kw_only=True)
class Eda(Augmentation):
    """The four edits of Wei and Zou 2019, arXiv:1901.11196; each copy gets one of them, drawn uniformly.

    The paper takes synonyms from WordNet. Here they are the words of the training rows that are most similar by the
    run's own frozen backbone: this needs no lexicon and works for any language that the backbone reads. Unlike in a
    lexicon, such a word can be an antonym, so `similarity` is high.

    Attributes:
        alpha: fraction of a text's words that an edit changes, at least one; for deletion, the probability of each
            word.
        similarity: minimum cosine of the features of two words that may replace each other; a word without such a
            substitute is not replaced.
        vocabulary: number of most frequent words of the training rows that are considered.
    """

    alpha: float = 0.1
    similarity: float = 0.6
    vocabulary: int = 3000
    _synonyms: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        super().check(problems)
        self.share("alpha", self.alpha, problems)
        self.share("similarity", self.similarity, problems)
        problems.whole(f"augment.{self.name}.vocabulary", self.vocabulary)

    def prepare(self, texts: Sequence[str], around: AugmentationContext) -> Callable[[str, Generator], list[str]]:
        """Find which words may replace each other."""
        counts = Counter(word.lower() for text in texts for word in WORD.findall(text))
        words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][: self.vocabulary]
        self._synonyms = {}
        if words:
            features = around.embed(words)
            alike = features @ features.T
            np.fill_diagonal(alike, -1.0)
            order = np.argsort(-alike, axis=1, kind="stable")[:, :NEAREST]
            for row, word in enumerate(words):
                if found := [words[other] for other in order[row] if alike[row, other] >= self.similarity]:
                    self._synonyms[word] = found
        return lambda text, generator: [self._copy(text, generator) for _ in range(self.copies)]

    def facts(self) -> dict[str, Any]:
        """Return how many words can be replaced."""
        return {"words_with_synonyms": len(self._synonyms)}

    def _copy(self, text: str, generator: Generator) -> str:
        words = text.split()
        if len(words) < 2:
            return text
        edits = (self._replace, self._insert, self._swap, self._delete)
        edits[int(generator.integers(len(edits)))](words, max(1, round(self.alpha * len(words))), generator)
        return " ".join(words)

    def _synonym(self, word: str, generator: Generator) -> str | None:
        """Return a substitute for a word, with its punctuation; None if there is none."""
        match = WORD.search(word)
        found = self._synonyms.get(match.group().lower()) if match else None
        if match is None or not found:
            return None
        other = found[int(generator.integers(len(found)))]
        other = other.capitalize() if match.group()[0].isupper() else other
        return word[: match.start()] + other + word[match.end() :]

    def _replace(self, words: list[str], changes: int, generator: Generator) -> None:
        left = changes
        for place in generator.permutation(len(words)):
            other = self._synonym(words[place], generator)
            if other is not None and left > 0:
                words[place] = other
                left -= 1

    def _insert(self, words: list[str], changes: int, generator: Generator) -> None:
        left = changes
        for word in [words[place] for place in generator.permutation(len(words))]:
            other = self._synonym(word, generator)
            if other is not None and left > 0:
                words.insert(int(generator.integers(len(words) + 1)), other)
                left -= 1

    @staticmethod
    def _swap(words: list[str], changes: int, generator: Generator) -> None:
        for _ in range(changes):
            one, other = generator.choice(len(words), size=2, replace=False)
            words[one], words[other] = words[other], words[one]

    def _delete(self, words: list[str], changes: int, generator: Generator) -> None:
        kept = [word for word in words if generator.random() >= self.alpha]
        words[:] = kept or [words[int(generator.integers(len(words)))]]
