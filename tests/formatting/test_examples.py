"""A few of many values in a message, and all names of a phrase."""

from __future__ import annotations

from harness.formatting.examples import several
from harness.formatting.values import listed


def test_several_counts_the_rest_and_listed_joins_a_phrase() -> None:
    """One shows the first few values, unquoted; the other is read as part of a sentence."""
    assert several(["a"]) == "a"
    assert several(["a", "b", "c"]) == "a, b, c"
    assert several(range(5)) == "0, 1, 2 and 2 more"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c"], word="or") == "a, b or c"
