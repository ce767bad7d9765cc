"""The generated task: the same rows everywhere, new names in test rows, and limits."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.tasks.token_tagging.demo import FILLINGS, DemoTags
from harness.tasks.token_tagging.entities import violations

# Of the default demo. A change of this value is a change of the task: every result on it is another one then.
FINGERPRINT = "eb72fe897ec08ec47bf57cc8f20f56752a088df26d3d9b5426700cb6fafbcb03"


def test_the_demo_is_the_same_everywhere() -> None:
    """Its rows follow the scheme, none occurs twice, and some test names are new."""
    data = DemoTags(name="demo_tags").load()
    assert data.fingerprint == FINGERPRINT
    assert not data.warnings and data.outputs == 2 * len(FILLINGS) + 1
    assert not any(violations(tags, "BIO") for tags in data.test.targets)
    assert "Aarhus" in " ".join(data.test.texts) and "Aarhus" not in " ".join(data.train.texts)
    assert DemoTags(name="demo_tags", train_sentences=50).load().test.texts == data.test.texts
    assert DemoTags(name="demo_tags", data_seed=1).load().fingerprint != data.fingerprint


def test_limits() -> None:
    """Sizes and the seed are whole numbers."""
    with pytest.raises(HarnessError, match=r"task\.test_sentences must be a whole number from 10 to 2000, not 5"):
        DemoTags(name="demo_tags", test_sentences=5).load()
