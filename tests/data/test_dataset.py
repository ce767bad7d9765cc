"""Splits of a data set."""

from __future__ import annotations

import numpy as np

from harness.data.dataset import Split


def test_the_digest_of_texts_follows_the_texts_and_their_ids() -> None:
    """The order of the rows does not matter; a changed text, or a second text, does."""
    ids, targets = np.array([4, 7]), np.zeros(2, dtype=np.int64)
    given = Split("test", ["a", "b"], None, targets, ids).text_digest
    assert Split("test", ["b", "a"], None, targets, ids[::-1]).text_digest == given
    others = [
        Split("test", ["a", "c"], None, targets, ids), Split("test", ["b", "a"], None, targets, ids),
        Split("test", ["a", "b"], ["", ""], targets, ids),
    ]  # fmt: skip
    assert given not in {other.text_digest for other in others}
