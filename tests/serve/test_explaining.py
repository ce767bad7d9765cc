"""Occlusion: which parts are left out, and what their absence does to the odds."""

from __future__ import annotations

import numpy as np
import pytest

from harness.serve.explaining import Span, occluded, weights


def test_each_word_is_left_out_once() -> None:
    row = occluded("  Where is\tmy parcel? ", None)
    assert row.texts[0] == "  Where is\tmy parcel? "
    assert row.texts[1:] == ("is\tmy parcel?", "Where my parcel?", "Where is parcel?", "Where is\tmy")
    assert [row.texts[0][each.start : each.end] for each in row.spans] == ["Where", "is", "my", "parcel?"]
    assert row.pairs is None


def test_scripts_without_spaces_and_single_words() -> None:
    """A character is a word where nothing parts them; of a text of one word, a full stop is left."""
    assert [each.end - each.start for each in occluded("我的包裹 late", None).spans] == [1, 1, 1, 1, 4]
    assert occluded("late", None).texts == ("late", ".")


def test_long_texts_are_left_out_in_parts() -> None:
    """The number of rows is bounded; together the parts are the whole text, for pairs in both texts."""
    words = " ".join(f"word{number}" for number in range(500))
    row = occluded(words, None, 64)
    assert 32 <= len(row.spans) <= 64
    assert " ".join(words[each.start : each.end] for each in row.spans) == words
    both = occluded(words, "one two three", 16)
    assert len(both.spans) <= 16
    assert {each.field for each in both.spans} == {"text", "pair"}
    assert both.pairs is not None
    assert len(both.texts) == len(both.pairs) == 1 + len(both.spans)
    assert both.spans[-1].field == "pair" and both.texts[-1] == words


def test_weights_are_falls_of_log_odds() -> None:
    """Also of a sure answer, whose probability hardly moves; exact 0 and 1 stay finite."""
    found = weights(np.array([[0.8, 0.2], [0.5, 0.5], [0.9, 0.1]]), 0)
    assert found == pytest.approx([np.log(4), np.log(4) - np.log(9)])
    sure = weights(np.array([[1.0, 0.0], [0.999, 0.001], [0.0, 1.0]]), 0)
    assert np.isfinite(sure).all() and 0 < sure[0] < sure[1]
    assert Span("text", 0, 1) == Span("text", 0, 1)
