"""CrossWOZ as its owners publish it: counts, and dialogues that stay in one split."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.text_tasks import make, problems


def test_rows(data: Path) -> None:
    """A row for each of the system's 4,229 and 4,238 turns, from the history before it."""
    found = make("crosswoz", "task.test_rows=null", "task.validation_rows=null", "task.turns=null").load()
    rows = found.facts["rows"]
    assert rows["train"] + rows["validation"] == pytest.approx(4_229, abs=60)  # equal histories are one row
    assert rows["test"] == pytest.approx(4_238, abs=60)
    first = [row.prompt[0]["content"] for row in found.train.rows]
    held = [row.prompt[0]["content"] for row in found.validation.rows]
    assert len({*first} & {*held}) < 0.05 * len({*held})  # dialogues that begin alike
    assert all(row.prompt[-1]["role"] == "user" for row in found.test.rows)
    assert all(slot in references[0] for references in found.test.targets for slot in references.slots)
    assert sum(bool(references.slots) for references in found.test.targets) > 1_000


def test_turns_bound_the_history(data: Path) -> None:
    """The latest ones stay; a conversation begins with the user."""
    found = make("crosswoz", "task.turns=3").load()
    assert max(len(row.prompt) for row in found.test.rows) == 3
    assert {row.prompt[0]["role"] for row in found.test.rows} == {"user"}
    plain = make("crosswoz", "task.turns=3", "task.chat=false").load()
    assert str(plain.test.rows[0].prompt).endswith("\n系统\uff1a")


def test_folds_would_share_dialogues(data: Path) -> None:
    assert "task.validation=split" in problems(make("crosswoz", "task.validation=kfold"))


def test_without_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the files and where they come from."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert "crosswoz/val.json.zip" in problems(make("crosswoz"))
