"""Indexes of a collection: BM25 by its formula, words of several scripts, and settings that rebuild them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.models.retrieval.indexes import VectorIndex, WordIndex, index_of, words

PASSAGES = ("the cat sat", "the dog sat on the mat on the floor", "a bird", "the bird and the cat")


def bm25(query: str, passage: str, k1: float, b: float) -> float:
    """Robertson et al. 1994, with the inverse document frequency of Lucene, for a query without repeated words."""
    texts = [each.split() for each in PASSAGES]
    own, mean = passage.split(), np.mean([len(each) for each in texts])
    total = 0.0
    for word in query.split():
        having = sum(word in each for each in texts)
        rare = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        times = own.count(word)
        total += 0.0 if not times else rare * times / (times + k1 * (1 - b + b * len(own) / mean))
    return total


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.0, 0.0), (2.5, 1.0)])
def test_scores_are_those_of_the_formula(k1: float, b: float) -> None:
    """For known words; unknown ones, repeated ones and none at all give finite scores."""
    index = WordIndex(PASSAGES, k1, b)
    found = index.scores(["the cat", "bird", "zebra", "", "Cat! THE, zebra"])
    for row, query in ((0, "the cat"), (1, "bird"), (4, "the cat")):
        assert found[row] == pytest.approx([bm25(query, passage, k1, b) for passage in PASSAGES], rel=1e-5, abs=1e-7)
    assert not found[2].any() and not found[3].any()
    again = index_of(index.settings, PASSAGES)
    assert isinstance(again, WordIndex) and (again.scores(["the cat"]) == found[0]).all()


def test_words_of_scripts_with_and_without_spaces() -> None:
    """Letters of any script and digits make words; Chinese and Japanese characters are words of their own."""
    assert words("Where's my Parcel #48213?") == ["where", "s", "my", "parcel", "48213"]
    assert words("我的包裹在哪里 VIP会员") == ["我", "的", "包", "裹", "在", "哪", "里", "vip", "会", "员"]
    assert words("Où est-ce? Größe") == ["où", "est", "ce", "größe"]
    assert words("?!") == []


def test_collections_without_words() -> None:
    """Passages of punctuation alone are kept, and have the score 0."""
    assert not WordIndex(["?!", "..."], 1.2, 0.75).scores(["what", "?"]).any()


def test_vectors_give_cosines() -> None:
    """And are rebuilt by their size."""
    index = VectorIndex(3, 2)
    index.put(np.eye(3, 2, dtype=np.float32))
    found = index(torch.tensor([[0.6, 0.8]]))
    np.testing.assert_allclose(found.numpy(), [[0.6, 0.8, 0.0]], atol=1e-7)
    again = index_of(index.settings, ())
    assert isinstance(again, VectorIndex) and again.vectors.shape == (3, 2)
