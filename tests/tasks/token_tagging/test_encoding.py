"""Words and windows: each word has one output, in one window, with context; whatever the tokenizer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from harness.data.examples import STATES
from harness.models.language.token_network import TokenBatch, TokenNetwork
from harness.tasks.token_tagging.data import Sentence, split_of
from harness.tasks.token_tagging.encoding import BEGINS, PREDICTED, WordEncoder, reads_forward, windows
from harness.tasks.token_tagging.examples import TagExamples
from harness.tasks.token_tagging.words import sentence_of
from tests.helpers import tiny_models, tiny_writers
from tests.helpers.small_dataset import shorten


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(9, 30), st.booleans())
@settings(max_examples=200, deadline=None)
def test_windows(lengths: list[int], room: int, causal: bool) -> None:
    """They fit, go forward, and predict each word once."""
    found = list(windows(lengths, room, causal))
    assert [word for each in found for word in range(each.start, each.end)] == list(range(len(lengths)))
    for each in found:
        assert sum(lengths[each.first : each.last]) <= room
        assert each.first <= each.start <= each.end <= each.last


def test_words_have_context_on_both_sides() -> None:
    """Where windows meet, a word is predicted with an eighth of the window beside it; a decoder has all before it."""
    both = list(windows([1] * 100, 32, causal=False))
    assert all(each.start - each.first >= 3 for each in both[1:])
    assert all(each.last - each.end >= 3 for each in both[:-1])
    forward = list(windows([1] * 100, 32, causal=True))
    assert all(each.end == each.last and each.start - each.first >= 7 for each in forward[1:])


ROWS = [
    Sentence.of_words(["Hello", "#unbelievably", "\u200b", "é", "world"]),
    sentence_of("O'Neill's (Köln), 北京 x-ray!"),
    Sentence.of_words([f"word{place}" for place in range(40)]),
    Sentence.of_words(["supercalifragilistic" * 20, "end"]),
    sentence_of(""),
]


def encoder(kind: str, last: bool = False, causal: bool = False, length: int = 24) -> WordEncoder:
    tokenizer: Any = (
        AutoTokenizer.from_pretrained(str(shorten())) if kind == "word pieces" else tiny_writers.tokenizer()
    )
    return WordEncoder(tokenizer, length, last, causal)


@pytest.mark.parametrize("kind", ["word pieces", "bytes"])
@pytest.mark.parametrize("last", [False, True])
def test_no_word_is_lost(kind: str, last: bool) -> None:
    """Long rows, long words, words without pieces, and texts: an output a word, of a piece of that word."""
    encode = encoder(kind, last)
    split = split_of("train", ROWS, [("O",) * len(row.words) for row in ROWS], range(len(ROWS)))
    tokens = encode.encode(split)
    assert tokens.trained is not None and tokens.truncated == (kind == "bytes")  # elsewhere a long word is one piece
    for row, sentence in enumerate(ROWS):
        marks = tokens.trained[tokens.offsets[row] : tokens.offsets[row + 1]]
        ids = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]]
        assert (marks & PREDICTED > 0).sum() == len(sentence.words)
        begins = np.flatnonzero(marks & BEGINS)
        assert all(size <= 24 for size in np.diff([*begins, len(marks)]))
        if row == 2:
            pieces = [encode.tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in sentence.words]
            assert list(ids[marks & PREDICTED > 0]) == [each[-1 if last else 0] for each in pieces]
            assert len(begins) > 3


def test_a_text_has_the_pieces_of_the_whole() -> None:
    """Words without a space before them keep the pieces that they have in the text."""
    encode = encoder("bytes", length=200)
    sentence = sentence_of("good (food), coffee!")
    tokens = encode.encode(split_of("train", [sentence], [("O",) * 6], [0]))
    assert encode.tokenizer.decode(tokens.ids).strip() == sentence.text


def examples(length: int) -> TagExamples:
    rows = [Sentence.of_words([f"w{place}" for place in range(count)]) for count in (3, 50, 1, 20)]
    split = split_of("train", rows, [("O",) * len(row.words) for row in rows], range(4))
    return TagExamples(encoder("word pieces", length=length).encode(split), split.targets, 0, sentences=rows)  # type: ignore[arg-type]  # a list serves


def test_batches_and_features() -> None:
    """A batch has a sequence a window; vectors are in the order of rows and words, also after a frozen prefix."""
    torch.set_num_threads(1)
    found = examples(24)
    batch = found.batch(np.array([1, 0, 3]), torch.device("cpu"))
    assert isinstance(batch, TokenBatch) and len(batch["input_ids"]) > 4
    assert int(batch.predicted.sum()) == 73 == found.weight(np.array([1, 0, 3]))
    network = TokenNetwork(AutoModel.from_pretrained(str(shorten())), 5).eval()
    with torch.no_grad():
        together = network.features(batch)
        alone = [network.features(found.batch(np.array([row]), torch.device("cpu"))) for row in (1, 0, 3)]
        assert network(batch).shape == (73, 5)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    stated = dataclasses.replace(found, states=np.ones((len(found.tokens.ids), 6), dtype=np.float32))
    states = stated.batch(np.array([1, 0]), torch.device("cpu"))[STATES]
    assert int(states[..., 0].sum()) == int(found.tokens.lengths[:2].sum())
    assert found.digest() != examples(40).digest()


def test_a_short_row_is_as_in_the_whole_model() -> None:
    """Without windows, tokens are those of the tokenizer's own treatment of words."""
    encode = encoder("word pieces", length=64)
    row = Sentence.of_words(["Hello", "#unbelievably", "é", "(world)"])
    tokens = encode.encode(split_of("train", [row], [("O",) * 4], [0]))
    assert list(tokens.ids) == encode.tokenizer(list(row.words), is_split_into_words=True)["input_ids"]


@pytest.mark.parametrize(
    ("name", "forward"), [("bert-base", False), ("gpt2", True), ("qwen3-0.6b", True), ("t5-base", False)]
)
def test_decoders_read_forward(name: str, forward: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Their first piece has not seen the others, so the last one is tagged."""
    directory: Path = tmp_path_factory.getbasetemp() / "tiny-tagging"
    assert reads_forward(tiny_models.tiny(name, directory).backbone) == forward
