"""Feedback is stored whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.serve.feedback import FeedbackStore
from harness.serve.files.samples import sample
from harness.serve.settings import Refusal


def test_nothing_is_kept_of_what_cannot_be_told(tmp_path: Path) -> None:
    """A file whose line cannot be written is removed."""
    store, row = FeedbackStore(tmp_path), {"image": sample("image"), "label": "a"}
    (tmp_path / "m" / "local.jsonl").mkdir(parents=True)
    with pytest.raises(Refusal, match="nothing of it was kept"):
        store.add("m", "local", row)
    assert not list((tmp_path / "m" / "local").iterdir())
    (tmp_path / "m" / "local.jsonl").rmdir()
    store.add("m", "local", row)
    assert [file.read_bytes() for file in (tmp_path / "m" / "local").iterdir()] == [sample("image")]
