"""The tasks of conf/task on their published data: rows, references, and prompts that stay in one split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.text_tasks import make


def named(name: str, *overrides: str) -> Any:
    """The data of a task."""
    return make(name, *overrides).load()


def test_e2e_nlg(data: Path) -> None:
    """The 547 meanings of the development rows train and select, the 630 of the test rows have all their references."""
    found = named("e2e_nlg", "task.test_rows=null", "task.validation_rows=null")
    rows = found.facts["rows"]
    assert rows["test"] == 630 and sum(map(len, found.test.targets)) == len({*_pairs(found.test)})
    prompts = {*found.train.texts}
    assert len(prompts) + rows["validation"] == 547
    assert rows["train"] + sum(map(len, found.validation.targets)) <= 4_672
    assert found.facts["overlap_train_validation"] == 0 and found.facts["overlap_train_test"] == 0
    assert found.test.texts[0].startswith("user: Describe the restaurant in one or two sentences: name[Blue Spice]")
    assert named("e2e_nlg").facts["rows"]["test"] == 100


def test_gsm8k(data: Path) -> None:
    """Its own test rows; a fraction of the training rows selects."""
    found = named("gsm8k")
    assert found.facts["rows"]["test"] == 1_319 and found.facts["rows"]["validation"] == 200
    assert all("#### " in refs[0] for refs in found.test.targets)


def test_cmn_eng_has_no_sentence_in_two_splits(data: Path) -> None:
    """Several translations of a sentence are its references."""
    found = named("cmn_eng", "task.test_rows=null")
    assert found.facts["overlap_train_test"] == found.facts["overlap_train_validation"] == 0
    assert max(map(len, found.test.targets)) > 1 and len(found.train) > 10_000
    assert np.unique(found.test.texts).size == len(found.test)


def _pairs(split: Any) -> list[tuple[str, str]]:
    return [(text, reference) for text, refs in zip(split.texts, split.targets, strict=True) for reference in refs]
