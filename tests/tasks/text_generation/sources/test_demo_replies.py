"""The demo of replies: equal rows everywhere, right replies by the policy, and a run from end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.runs import measurements
from harness.tasks.text_generation.metrics.slots import contains
from harness.tasks.text_generation.sources.demo_replies import MOST
from tests.helpers import tiny_writers
from tests.helpers.text_tasks import make, problems

Main = Callable[..., tuple[int, str]]


def messages(split: Any) -> list[str]:
    """What customers wrote."""
    return [row.prompt[-1]["content"] for row in split.rows]


def test_rows_depend_on_the_seed_only() -> None:
    """More training rows change no test row, and no message stands in two splits."""
    few, many = make("demo_replies", "task.train_messages=20").load(), make("demo_replies").load()
    assert messages(few.test) == messages(many.test) and len(few.train) == 20
    assert messages(make("demo_replies", "task.data_seed=1").load().test) != messages(many.test)
    everything = [text for split in (many.train, many.validation, many.test) for text in messages(split)]
    assert len({*everything}) == len(everything) == 580


def test_replies_follow_the_policy() -> None:
    """Every slot stands in its reply, once in every message's own numbers; the deadline for returns is kept."""
    found = make("demo_replies").load()
    for references, message in zip(found.train.targets, messages(found.train), strict=True):
        assert references.slots and all(contains(references[0], slot) for slot in references.slots)
        if days := re.search(r"(?:delivered|it|came) (\d+) days ago", message):
            assert ("for free" in references[0]) == (int(days[1]) <= 30)
        if order := re.search(r"\b[A-H]\d{4}\b", message):
            assert order[0] in references[0]


def test_what_is_refused() -> None:
    """Counts out of range, in one go."""
    told = problems(make("demo_replies", "task.train_messages=1", f"task.test_messages={MOST + 1}", "task.chat=maybe"))
    assert all(key in told for key in ("task.train_messages", "task.test_messages", "task.chat"))


def test_end_to_end(tmp_path: Path, main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run stores replies and the slots that are right, and what reading and writing cost."""
    monkeypatch.setattr(measurements, "SECONDS", 0.1)
    model = tiny_writers.saved(tmp_path / "model", tiny_writers.long_decoder, tiny_writers.TEMPLATE)
    code, printed = main(
        "task=demo_replies", "task.train_messages=4", "task.validation_messages=2", "task.test_messages=4",
        "task.max_length=900", "task.generate.max_new_tokens=3", "model=own",
        f"model.path={model}", "model.name=tiny", "device=cpu", "method=lora", "train.epochs=1", "train.batch_size=2",
    )  # fmt: skip
    assert code == 0, printed
    [file] = tmp_path.glob("runs/single/runs/*/*/predictions.parquet")
    table = pd.read_parquet(file).query("split == 'test'")
    assert len(table) == 4 and table["score_slot_accuracy"].between(0, 1).all()
    cost = json.loads((file.parent / "record.json").read_text(encoding="utf-8"))["cost"]
    assert cost["output_tokens"] == table["written_tokens"].mean() <= 3 and cost["prompt_tokens"] > 100
    assert cost["single_tokens_per_second"] > 0
    assert cost["thousand_tokens_seconds"] == pytest.approx(1000 / cost["batch_tokens_per_second"], rel=1e-4)
