"""Tokenization of tagged words: pieces, and windows where a row is longer than a model reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from harness.data.tokenization import Tokens
from harness.tasks.token_tagging.data import Sentence, TagSplit

# Marks of a token in `Tokens.trained`.
PREDICTED, BEGINS = 1, 2  # it has an output; it is the first of a window
SPACE = "\u0120"  # a space in the pieces of byte-level BPE
OVERLAP = 4  # windows share one token in so many
FORMAT = 1  # increased when rows become other tokens


class Window(NamedTuple):
    """Words that are read together: `first` to `last`, and those of them that it predicts; ends are excluded."""

    first: int
    last: int
    start: int
    end: int


@dataclass(frozen=True)
class WordEncoder:
    """Tokenizes words one by one, so that each has pieces of its own.

    Attributes:
        tokenizer: of the model.
        max_length: most tokens of a window, special ones included.
        last: whether the last piece of a word is tagged, instead of the first.
        causal: whether the model reads from left to right.
    """

    tokenizer: Any
    max_length: int
    last: bool
    causal: bool

    @property
    def key(self) -> str:
        """What tokens depend on besides the split, the tokenizer and the maximum length."""
        return f"token_tagging {FORMAT} {self.last} {self.causal}"

    def encode(self, split: TagSplit) -> Tokens:
        """Tokenize a split; the tokens of a row are those of its windows, one after another."""
        before, after = self._special()
        room = max(self.max_length - len(before) - len(after), 1)
        pieces = self._pieces(split.sentences)
        ids, marks, offsets, cut = list[int](), list[int](), [0], 0
        for sentence in split.sentences:
            words = [pieces[key] for key in _keys(sentence)]
            cut += any(len(word) > room for word in words)
            words = [word[:room] for word in words]  # the word keeps its output
            for window in windows([len(word) for word in words], room, self.causal):
                begin = len(ids)
                ids += before
                marks += [0] * len(before)
                for place in range(window.first, window.last):
                    word = words[place]
                    ids += word
                    predicted = [0] * len(word)
                    if window.start <= place < window.end:
                        predicted[-1 if self.last else 0] = PREDICTED
                    marks += predicted
                ids += after
                marks += [0] * len(after)
                marks[begin] |= BEGINS
            offsets.append(len(ids))
        return Tokens(
            ids=np.array(ids, dtype=np.int32), offsets=np.array(offsets, dtype=np.int64), types=None, truncated=cut,
            trained=np.array(marks, dtype=np.int8),
        )  # fmt: skip

    def _special(self) -> tuple[list[int], list[int]]:
        """Return the special tokens before and after a text."""
        plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = self.tokenizer("a")["input_ids"]
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start], whole[start + len(plain) :]
        return [], []

    def _pieces(self, sentences: Sequence[Sentence]) -> dict[tuple[str, bool], list[int]]:
        """Return the pieces of each word, by the word and whether a space precedes it; at least one."""
        keys = list(dict.fromkeys(key for sentence in sentences for key in _keys(sentence)))
        spaced = self._spaced()
        texts = [f" {word}" if space and spaced else word for word, space in keys]
        found = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
        # Of a word of characters that the tokenizer drops, such as a zero-width space, nothing is left.
        unknown = next(
            each
            for each in (self.tokenizer.unk_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, 0)
            if each is not None
        )
        return {key: list(ids) or [unknown] for key, ids in zip(keys, found, strict=True)}

    def _spaced(self) -> bool:
        """Return whether the space before a word is part of its first piece, as in byte-level BPE."""
        ids = self.tokenizer(" a", add_special_tokens=False)["input_ids"]
        return bool(ids) and str(self.tokenizer.convert_ids_to_tokens(ids)[0]).startswith(SPACE)


def windows(lengths: Sequence[int], room: int, causal: bool) -> Iterator[Window]:
    """Cut a row into windows of at most `room` tokens, which overlap; each word is predicted in one of them.

    That is the window where the word has most context: on both sides, or before it in a model that reads from left to
    right.

    Args:
        lengths: (w,) tokens of each word, at most `room` each.
        room: tokens of a window.
        causal: whether the model reads from left to right.
    """
    ends = np.cumsum(lengths)
    begins = ends - lengths
    first = start = 0
    while start < len(lengths):
        last = int(np.searchsorted(ends, begins[first] + room, side="right"))
        if last == len(lengths):
            yield Window(first, last, start, last)
            return
        # The next window begins with the last quarter of this one, but goes on by a word at least.
        back = int(np.searchsorted(begins, ends[last - 1] - room // OVERLAP, side="left"))
        following = min(max(back, first + 1), last)
        while _end(begins, ends, following, room) <= last:  # a long word after the overlap would not fit
            following += 1
        end = last
        if not causal and following < last:
            middle = (begins[following] + ends[last - 1]) / 2
            end = int(following + np.searchsorted((begins + ends)[following:last] / 2, middle, side="left"))
        yield Window(first, last, start, end)
        first, start = following, end


def _end(begins: Any, ends: Any, first: int, room: int) -> int:
    """Return the end of the window that begins with a word."""
    return int(np.searchsorted(ends, begins[first] + room, side="right"))


def _keys(sentence: Sentence) -> list[tuple[str, bool]]:
    """Return the words with whether a space, or nothing at all, precedes each."""
    before = (0, *sentence.ends)[: len(sentence.words)]
    starts = zip(sentence.words, before, sentence.starts, strict=True)
    return [(word, place == 0 or start > end) for place, (word, end, start) in enumerate(starts)]


def reads_forward(backbone: nn.Module) -> bool:
    """Return whether a model reads from left to right: a decoder, without an encoder."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    config: Any = backbone.config
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False):
        return bool(not config.is_encoder_decoder)
    kind = type(config)
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING
