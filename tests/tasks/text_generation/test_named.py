"""The tasks of conf/task on their published data: rows, references, and prompts that stay in one split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.runs import measurements
from tests.helpers import tiny_writers
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


def test_cmn_to_eng_is_the_other_way(data: Path) -> None:
    """Chinese sentences are prompts, with all their English translations."""
    found = named("cmn_to_eng", "task.test_rows=null")
    assert found.facts["overlap_train_test"] == found.facts["overlap_train_validation"] == 0
    assert all(text.startswith("user: Translate into English: ") for text in found.test.texts)
    assert "Hello!" in {text for references in found.test.targets for text in references} | {
        row.completion for row in found.train.rows
    }


SHORT = (
    "task.shots=16", "task.validation_rows=2", "task.test_rows=3", "task.max_length=3000",
    "task.generate.max_new_tokens=2",
)  # fmt: skip


@pytest.mark.parametrize("task", ["gsm8k", "cmn_eng", "cmn_to_eng", "crosswoz"])
def test_end_to_end(
    task: str, data: Path, tmp_path: Path, main: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows of each task, by a tiny decoder of random weights: trained on, written for, and scored."""
    monkeypatch.setattr(measurements, "SECONDS", 0.1)
    model = tiny_writers.saved(tmp_path / "model", tiny_writers.long_decoder, tiny_writers.TEMPLATE)
    code, printed = main(
        f"task={task}", *SHORT, *(("task.turns=1",) if task == "crosswoz" else ()), "model=own",
        f"model.path={model}", "model.name=tiny", "device=cpu", "method=lora", "train.epochs=1", "train.batch_size=16",
    )  # fmt: skip
    assert code == 0, printed
    [file] = tmp_path.glob("runs/single/runs/*/*/predictions.parquet")
    table = pd.read_parquet(file).query("split == 'test'")
    assert len(table) == 3 and table["prediction"].notna().all() and table["score_loss"].notna().all()
    assert ("score_exact_match_number" in table) and ("score_slot_accuracy" in table) == (task == "crosswoz")
