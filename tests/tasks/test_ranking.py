"""Places in a ranking, against sorting."""

from __future__ import annotations

import numpy as np

from harness.tasks.ranking import first, places


def test_places_and_first_items_are_those_of_a_stable_sort() -> None:
    """With many ties, and with more items wanted than there are."""
    draw = np.random.default_rng(0)
    for items in (1, 2, 7, 40):
        for _ in range(20):
            scores = draw.integers(0, 5, items).astype(np.float32)
            order = np.lexsort((np.arange(items), -scores))
            for count in (0, 1, 3, items, items + 2):
                assert first(scores, count).tolist() == order[:count].tolist()
            wanted = draw.integers(0, items, 3).tolist()
            above, tied = places(scores, wanted)
            for place, item in enumerate(wanted):
                assert above[place] == (scores > scores[item]).sum()
                assert tied[place] == (scores == scores[item]).sum() - 1
