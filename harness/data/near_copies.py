"""Near-copies: texts that share nearly all words and pairs of words, such as fillings of one template."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

ALIKE = 0.7  # Jaccard similarity of words and pairs of words from which on two texts are near-copies
FEWEST = 8  # shingles of a text that can be compared: of fewer, one word is too large a part
COMMON = 0.5  # shingles of more than this share of all texts belong to the form of the data, not to a text
BANDS, WIDTH = 10, 3  # of MinHash: they find 98 % of the pairs at ALIKE, and 24 % of those at 0.3
MOST_CANDIDATES = 20  # texts of a bucket that are compared: those of one template are alike, so a few show it
SHARE = 0.15  # share of a split's rows from which on near-copies are told: what people wrote has up to a tenth

_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+")
_NONE = np.uint32(0xFFFFFFFF)  # in place of a shingle that does not count

Hashes = npt.NDArray[np.uint32]


def near_copies(texts: Sequence[str], others: Sequence[str]) -> int:
    """Count the texts that are near-copies of another text, equal ones aside.

    Letter case, punctuation and the digits of numbers do not count. Candidates are found by MinHash with bands (Broder
    1997) and compared exactly; 100,000 texts of 20 words take seconds. The result depends on the texts alone.

    Args:
        texts, others: in the form in which equal texts are equal.
    """
    equal = set(others)
    own = [text for text in texts if text not in equal]
    if not own or not others:
        return 0
    words, starts = _words([*others, *own])
    shingles = _shingles(words, starts)
    kept = _without_common(shingles, starts)
    sizes = np.add.reduceat((kept != _NONE).sum(axis=0), starts)
    long = sizes >= FEWEST
    known, asked = np.flatnonzero(long[: len(others)]), len(others) + np.flatnonzero(long[len(others) :])
    alike: set[int] = set()
    sets: dict[int, frozenset[int]] = {}
    ends = np.append(starts[1:], len(words))

    def content(row: int) -> frozenset[int]:
        if row not in sets:
            sets[row] = frozenset(kept[:, starts[row] : ends[row]].ravel().tolist()) - {int(_NONE)}
        return sets[row]

    for keys in _bands(kept, starts):
        order = known[np.argsort(keys[known], kind="stable")]
        low = np.searchsorted(keys[order], keys[asked], side="left")
        high = np.searchsorted(keys[order], keys[asked], side="right")
        for row, first, last in zip(asked.tolist(), low.tolist(), high.tolist(), strict=True):
            if last > first and row not in alike:
                candidates = order[first : min(last, first + MOST_CANDIDATES)].tolist()
                if any(_similarity(content(row), content(other)) >= ALIKE for other in candidates):
                    alike.add(row)
    return len(alike)


def told(count: int, rows: int, split: str, other: str, grouped: bool) -> Iterator[str]:
    """Yield a sentence for the user, if near-copies are many.

    Args:
        count: near-copies among the rows of a split.
        rows: their number.
        split, other: names of the splits, for the sentence.
        grouped: whether the task names groups.
    """
    if count >= 2 and count >= SHARE * rows:
        advice = (
            "task.group does not keep them apart."
            if grouped
            else "If they come from one template, person or document, name its column: task.group=<column>."
        )
        yield (
            f"{count} {split} rows ({count / rows:.1%}) are near-copies of {other} rows (most words are the same, "
            f"numbers aside): {split} scores flatter by up to that much, and rows that belong together tell less than "
            f"as many independent ones. {advice}"
        )


def _words(texts: Sequence[str]) -> tuple[Hashes, npt.NDArray[np.intp]]:
    """Return the hashes of all words, and where those of each text begin; a text without words has an empty one."""
    hashes: dict[str, int] = {}
    found: list[int] = []
    starts = []
    for text in texts:
        starts.append(len(found))
        for word in _WORD.findall(_DIGITS.sub("0", text.lower())) or ("",):
            value = hashes.get(word)
            if value is None:
                value = hashes[word] = zlib.crc32(word.encode())
            found.append(value)
    return np.array(found, dtype=np.uint32), np.array(starts, dtype=np.intp)


def _shingles(words: Hashes, starts: npt.NDArray[np.intp]) -> Hashes:
    """Return (2, n): each word, and each with the next one of its text."""
    pairs = words * np.uint32(0x9E3779B1) + np.append(words[1:], np.uint32(0)) * np.uint32(0x85EBCA77)
    pairs[np.append(starts[1:], len(words)) - 1] = _NONE  # the last word of a text
    return np.stack([words, pairs])


def _without_common(shingles: Hashes, starts: npt.NDArray[np.intp]) -> Hashes:
    _, place, counts = np.unique(shingles, return_inverse=True, return_counts=True)
    common = counts > max(COMMON * len(starts), 1)
    return np.where(common[place.reshape(shingles.shape)], _NONE, shingles)


def _similarity(one: frozenset[int], two: frozenset[int]) -> float:
    shared = len(one & two)
    return shared / max(len(one) + len(two) - shared, 1)


def _bands(shingles: Hashes, starts: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield a key of each text for each band; texts with the same key are candidates."""
    generator = np.random.default_rng(0)
    for _ in range(BANDS):
        keys = np.zeros(len(starts), dtype=np.uint64)
        for _ in range(WIDTH):
            slope, offset = generator.integers(0, 2**32, 2, dtype=np.uint32)
            # Mixed before and after: a product alone keeps the order of the low bits (Murmur's finalizer).
            mixed = (shingles ^ (shingles >> np.uint32(16))) * (slope | np.uint32(1)) + offset
            mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x85EBCA6B)
            mixed = np.where(shingles == _NONE, _NONE, mixed ^ (mixed >> np.uint32(13)))
            least = np.minimum.reduceat(mixed.min(axis=0), starts)
            keys = keys * np.uint64(0x9E3779B97F4A7C15) + least
        yield keys
