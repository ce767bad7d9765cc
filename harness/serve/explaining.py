"""Why a model answers as it does: words whose absence changes the answer, by occlusion (Zeiler and Fergus 2014)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_SPANS = 64  # of a row; of longer ones, neighboring words are left out together
SIMILAR = 5  # training rows that are shown
_LEAST = 1e-6  # probability at which log odds are cut
_SMALL = "."  # stands for a text of which nothing is left
# A word is what spaces part; in scripts without spaces, one character.
_SINGLE = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SINGLE}]|[^\s{_SINGLE}]+")


@dataclass(frozen=True)
class Span:
    """A part of a row that is left out.

    Attributes:
        field: the text that it is of: `text` or `pair`.
        start, end: its characters there.
    """

    field: str
    start: int
    end: int


@dataclass(frozen=True)
class Occlusion:
    """A row and its copies, each without one span.

    Attributes:
        texts, pairs: 1 + s rows, the whole row first; pairs is None for models of single texts.
        spans: the s spans.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    spans: tuple[Span, ...]


def occluded(text: str, pair: str | None, most: int = MOST_SPANS) -> Occlusion:
    """Make the copies of a row.

    Args:
        text: its text.
        pair: its second text; None for models of single texts.
        most: spans that are made at most, at least 2.
    """
    words = [Span("text", *match.span()) for match in _WORD.finditer(text)]
    if pair is None:
        spans = _joined(words, most)
    else:
        others = [Span("pair", *match.span()) for match in _WORD.finditer(pair)]
        share = min(max(1, round(most * len(words) / max(1, len(words) + len(others)))), most - 1)
        spans = [*_joined(words, share), *_joined(others, most - share)]
    texts = [text, *(_without(text, each) if each.field == "text" else text for each in spans)]
    if pair is None:
        return Occlusion(tuple(texts), None, tuple(spans))
    pairs = [pair, *(_without(pair, each) if each.field == "pair" else pair for each in spans)]
    return Occlusion(tuple(texts), tuple(pairs), tuple(spans))


def weights(probabilities: npt.NDArray[Any], label: int) -> npt.NDArray[np.float64]:
    """Return how much the log odds of a class fall without each span: (s,); negative where they rise.

    Log odds, since the probability of a sure answer hardly moves although the words that make it sure are left out.

    Args:
        probabilities: (1 + s, C), of the whole row first.
        label: index of the class.
    """
    cut = np.clip(probabilities[:, label].astype(np.float64), _LEAST, 1 - _LEAST)
    odds = np.log(cut) - np.log1p(-cut)
    return np.asarray(odds[0] - odds[1:])


def told(row: Occlusion, found: npt.NDArray[Any], probabilities: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """Return the spans with their weights, as JSON, in the order of the texts.

    Args:
        row: the row.
        found: (s,) weights.
        probabilities: (s,) of the class without each span.
    """
    of = {"text": row.texts[0], "pair": "" if row.pairs is None else row.pairs[0]}
    return [
        {
            "field": each.field, "start": each.start, "end": each.end, "word": of[each.field][each.start : each.end],
            "weight": round(float(weight), 4), "probability": round(float(without), 6),
        }
        for each, weight, without in zip(row.spans, found, probabilities, strict=True)
    ]  # fmt: skip


def explanation(name: str, labels: Sequence[str]) -> dict[str, Any]:
    """Return an example of an explanation, without computing it."""
    words = [
        {"field": "text", "start": 0, "end": 5, "word": "Where", "weight": 0.1, "probability": 0.8},
        {"field": "text", "start": 9, "end": 11, "word": "my", "weight": -0.2, "probability": 0.9},
    ]
    return {"model": name, "prediction": labels[0], "label": labels[0], "probability": 0.85, "words": words}


def _joined(words: Sequence[Span], most: int) -> list[Span]:
    """Join neighboring words until there are few enough."""
    size = -(-len(words) // most)
    parts = [words[start : start + size] for start in range(0, len(words), max(1, size))]
    return [Span(part[0].field, part[0].start, part[-1].end) for part in parts]


def _without(text: str, span: Span) -> str:
    """Return a text without a span and the spaces that it leaves doubled."""
    kept = f"{text[: span.start].rstrip()} {text[span.end :].lstrip()}".strip()
    return kept or _SMALL
