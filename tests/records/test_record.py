"""Records: whole or not at all, and a signature of what a run computes."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.records.files import append_jsonl, atomic, read_jsonl, write_json
from harness.records.record import CorruptRecord, Record
from harness.records.run_records import RunRecords
from harness.records.signature import METHOD_NUMERICS, signature
from tests.helpers.small_dataset import config


def record() -> Record:
    return Record("0123", "ok", "study", "a.b.c", "tune", "a", "b", "c", 0, cost={"seconds": 1.5})


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Keys of a later version are passed over."""
    path = tmp_path / "run" / "record.json"
    record().write(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "from_the_future": 1}))
    assert Record.read(path) == record()
    assert Record.read(tmp_path / "none.json") is None


@pytest.mark.parametrize("content", ["", "{", '{"signature": "x"}', "[]", "null"])
def test_what_is_no_whole_record_says_so(tmp_path: Path, content: str) -> None:
    """A full disk leaves such files."""
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(CorruptRecord, match="not a complete record"):
        Record.read(tmp_path / "record.json")


@pytest.mark.parametrize(
    "change",
    [
        {"hyperparameters": [1]},
        {"metrics": []},
        {"metrics": {"val": None}},
        {"cost": None},
        {"cell": None},
        {"data": 1},
    ],
)
def test_a_record_with_fields_of_another_type_says_so(tmp_path: Path, change: dict[str, Any]) -> None:
    """Whoever reads it relies on them."""
    path = tmp_path / "record.json"
    record().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptRecord, match=f"of another type: {next(iter(change))}"):
        Record.read(path)


def test_a_record_that_cannot_be_opened_is_not_deleted(tmp_path: Path) -> None:
    """It may be whole: a study ends in a sentence, and who only reads the study goes on without it."""
    (tmp_path / "cell/trial0000/record.json").mkdir(parents=True)
    told: list[str] = []
    assert RunRecords(tmp_path, told.append, keep=True).all() == []
    assert "record.json cannot be read (Is a directory)" in told[0]
    with pytest.raises(HarnessError, match="Make it readable, or remove it"):
        RunRecords(tmp_path, told.append)
    assert (tmp_path / "cell/trial0000/record.json").is_dir()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """A reader never sees half a file."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_that_json_does_not_know_become_null(tmp_path: Path) -> None:
    """NaN in a file would stop every strict reader."""
    write_json(tmp_path / "a.json", {"a": math.nan, "b": [math.inf, 1.0]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [None, 1.0]}


def test_a_growing_file_of_lines_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    """The worker may be in the middle of the next; one that was torn by a kill is passed over."""
    path = tmp_path / "metrics.jsonl"
    append_jsonl(path, {"epoch": 1})
    with path.open("a") as file:
        file.write('{"epoch": 2, "tra\n{"epoch": 2}\n{"epoch"')
    assert read_jsonl(path) == [{"epoch": 1}, {"epoch": 2}]


def sign(composed: dict[str, Any], phase: str = "tune", data: str = "d", model: str = "m") -> str:
    return signature(composed, phase, data, model)


def test_a_signature_depends_on_what_is_computed_and_on_nothing_else(tmp_path: Path) -> None:
    """Where data, model and cache lie, how often checkpoints are written and what is tuned do not count."""
    base = config(tmp_path, tmp_path, method="lora")
    same = deepcopy(base)
    same["cache_dir"] = "elsewhere"
    same["device"] = "cuda"
    same["task"]["path"] = "moved.csv"
    same["method"]["space"] = {}
    same["train"]["checkpoint_seconds"] = 1.0
    same["launch"] = {"workers": 3}
    assert sign(same) == sign(base)
    for key, value in (("seed", 1), ("train", base["train"] | {"lr": 0.5}), ("task", base["task"] | {"shots": 3})):
        assert sign({**base, key: value}) != sign(base)
    assert len({sign(base), sign(base, phase="confirm"), sign(base, data="x"), sign(base, model="x")}) == 4


def test_what_a_method_ignores_is_not_part_of_its_signature(tmp_path: Path) -> None:
    """Except the precision, which changes the frozen features that it reads."""
    probe = config(tmp_path, tmp_path, method="linear_probe")
    assert sign({**probe, "train": probe["train"] | {"lr": 0.5}}) == sign(probe)
    assert sign({**probe, "train": probe["train"] | {"precision": "bf16"}}) != sign(probe)


def test_method_whose_results_changed_has_a_version_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raising one method's version leaves the records of all others valid."""
    ours, others = ({"method": {"_target_": target, "name": "x"}} for target in ("ours.Method", "others.Method"))
    before = [signature(config, "tune", "data", "model") for config in (ours, others)]
    monkeypatch.setitem(METHOD_NUMERICS, "ours.Method", 1)
    after = [signature(config, "tune", "data", "model") for config in (ours, others)]
    assert after[0] != before[0] and after[1] == before[1]
