"""Compacted records say what the JSON says, cost what is new, and survive whatever happens to them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas
import pytest

from harness.report import Study, load, rows
from harness.report.reading import parquet
from harness.report.reading.runs import Run, read
from tests.report.conftest import Builder, asked, make_banking

CELL = "demo.minilm.lora"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose record.json is read, by directory name."""
    names: list[str] = []

    def noting(directory: str) -> Any:
        names.append(Path(directory).name)
        return read(directory)

    monkeypatch.setattr(parquet, "read", noting)
    return names


def parts(study: Builder) -> list[Path]:
    return sorted((study.directory / "records.parquet").glob("*.parquet"))


def names(study: Study) -> list[str]:
    return [Path(run.directory).name for cell in study.cells for run in cell.runs]


def trial(study: Builder, number: int, **values: Any) -> Path:
    fields: dict[str, Any] = {"trial": number, "metrics": {"val": {"accuracy": number / 1000}, "test": {}}}
    fields |= {"hyperparameters": {"train.lr": number / 10, "train.epochs": 3}}
    return study.run(CELL, f"t{number:03d}", **(fields | values))


def everything(study: Builder) -> None:
    """Make a study whose runs fared in every way there is."""
    make_banking(study)
    cell = "banking77.minilm.lora"
    study.run(cell, "goes-on", trial=20, status="running")
    study.run(cell, "newer", trial=21, schema=99, metrics={"val": {"accuracy": 0.1, "novel": 0.2}, "test": {}})
    study.run(cell, "odd", trial=22, cost={"total_seconds": None, "threads": 2, "device": "cpu", "novel": 1.5})
    odd = study.run(cell, "surrogate", trial=23, status="failed", error="ERROR")
    odd.write_text(odd.read_text(encoding="utf-8").replace("ERROR", "\\ud800"), encoding="utf-8")
    study.run(cell, "large", trial=24, seed=2**70)
    study.run(cell, "nothing", trial=25, status="lost", metrics={}, data={}, provenance={}, started=None, ended=None)
    for seed in (0, 1):
        config = {"task": {"name": "banking77", "metric": "mcc"}, "train": {"lr": 0.1}, "seed": seed}
        metrics = {"val": {"mcc": 0.5}, "test": {"mcc": 0.5 + seed / 10}}
        study.run("banking77.minilm.single", f"s{seed}", config, phase="single", seed=seed, metrics=metrics)
    study.run(cell, "corrupt", trial=26).write_text('{"signature": ', encoding="utf-8")
    study.run(cell, "shapeless", trial=27, metrics={"val": 3, "test": {}})
    (study.directory / "runs" / cell / "empty").mkdir()
    (study.directory / "runs" / "a-file").touch()


def test_a_study_from_parquet_equals_the_study_from_json(study: Builder, reads: list[str]) -> None:
    """Records, rows, table and warnings, with runs that failed, go on, were lost, cannot be read or are newer."""
    everything(study)
    first = load(study.directory)
    from_json = first, rows(first)
    reads.clear()
    second = load(study.directory)
    assert set(reads) == {"goes-on", "surrogate", "large", "corrupt", "shapeless"}
    assert (second, rows(second)) == from_json
    costs = [[(run.cost("total_seconds"), run.cost("novel")) for run in cell.runs] for cell in first.cells]
    assert [[(run.cost("total_seconds"), run.cost("novel")) for run in cell.runs] for cell in second.cells] == costs
    for cell in second.cells:
        for run in cell.runs:
            assert run.metric("val", "novel") == (0.2 if run.directory.endswith("newer") else None)
            assert Run.of(run.directory, run.record) == read(run.directory)


def test_only_what_is_new_is_read(study: Builder, reads: list[str]) -> None:
    """A run that goes on is looked at again; one that was written anew is read again; a removed one is gone."""
    for number in range(3):
        trial(study, number)
    trial(study, 3, status="running")
    load(study.directory)
    reads.clear()
    load(study.directory)
    assert reads == ["t003"]
    trial(study, 1, status="failed", error="out of memory")
    trial(study, 3)
    trial(study, 4)
    shutil.rmtree(study.directory / "runs" / CELL / "t000")
    reads.clear()
    found = load(study.directory)
    assert sorted(reads) == ["t001", "t003", "t004"]
    assert [(run.record.trial, run.status) for run in found.cells[0].runs] == [
        (1, "failed"), (2, "ok"), (3, "ok"), (4, "ok"),
    ]  # fmt: skip
    reads.clear()
    assert load(study.directory) == found
    assert reads == []
    table = pandas.read_parquet(study.directory / "records.parquet")
    assert sorted(table["run"]) == [f"{CELL}/t{number:03d}" for number in (1, 2, 3, 4)]


def test_parts_stay_few_and_read_as_one_table(study: Builder) -> None:
    """Ten runs at a time: the number of parts grows as the logarithm, and large parts are rarely written."""
    written = 0
    for batch in range(40):
        for number in range(10 * batch, 10 * batch + 10):
            trial(study, number)
        before = set(parts(study))
        load(study.directory)
        (new,) = set(parts(study)) - before
        written += len(pandas.read_parquet(new, columns=["run"]))
        assert len(parts(study)) <= 5
    table = pandas.read_parquet(study.directory / "records.parquet")
    assert sorted(table["trial"]) == list(range(400))
    assert written < 400 * 8
    assert (table["val_accuracy"] == table["trial"] / 1000).all()
    assert json.loads(table["hyperparameters"][0])["train.epochs"] == 3


def truncate(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-40])


def empty(part: Path) -> None:
    part.write_bytes(b"")


def flip(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 0xFF
    part.write_bytes(content)


def change_a_column(part: Path) -> None:
    """In the footer, which Parquet's checksums leave out."""
    content = part.read_bytes()
    place = content.rindex(b"signature")
    part.write_bytes(content[:place] + b"S" + content[place + 1 :])


@pytest.mark.parametrize("harm", [truncate, empty, flip, change_a_column])
def test_a_damaged_part_is_made_again(study: Builder, harm: Any) -> None:
    """With a warning, once."""
    for number in range(20):
        trial(study, number)
    whole = load(study.directory)
    harm(parts(study)[0])
    found = load(study.directory)
    assert found.cells == whole.cells
    (warning,) = found.warnings
    assert "is damaged" in warning
    assert load(study.directory) == whole


def test_a_part_of_another_form_is_made_again(
    study: Builder, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    """A version that keeps other columns reads the JSON, and says nothing."""
    trial(study, 0)
    whole = load(study.directory)
    monkeypatch.setattr(parquet, "FORM", "another")
    reads.clear()
    assert load(study.directory) == whole
    assert reads == ["t000"]
    assert len(parts(study)) == 1


def test_a_crash_between_writing_and_removing_leaves_no_run_twice(study: Builder, reads: list[str]) -> None:
    """Rows that lie in two parts count once; the leftovers are cleared away."""
    trial(study, 0)
    load(study.directory)
    (old,) = parts(study)
    content = old.read_bytes()
    trial(study, 1)
    whole = load(study.directory)
    old.write_bytes(content)
    leftover = old.with_name(f".{old.name}.123.tmp")
    leftover.write_bytes(b"half")
    reads.clear()
    assert load(study.directory) == whole
    assert reads == []
    assert not old.exists()
    assert not leftover.exists()
    assert len(pandas.read_parquet(study.directory / "records.parquet")) == 2


def test_a_file_of_the_user_beside_the_parts_is_left_alone(study: Builder) -> None:
    """Only files that are named as parts are read or removed."""
    trial(study, 0)
    load(study.directory)
    own = study.directory / "records.parquet" / "mine.parquet"
    own.write_bytes(b"mine")
    trial(study, 1)
    assert names(load(study.directory)) == ["t000", "t001"]
    assert own.read_bytes() == b"mine"


def test_a_study_that_cannot_be_written_is_read_all_the_same(study: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error or a warning: nothing is compacted, or nothing more."""
    trial(study, 0)
    (study.directory / "records.parquet").touch()
    first = load(study.directory)
    assert (names(first), first.warnings) == (["t000"], ())
    (study.directory / "records.parquet").unlink()
    load(study.directory)
    trial(study, 1)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("filelock.FileLock.acquire", refuse)
        second = load(study.directory)
    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", refuse)
        assert load(study.directory) == second
    assert (names(second), second.warnings) == (["t000", "t001"], ())
    assert len(pandas.read_parquet(study.directory / "records.parquet")) == 1


def test_while_another_process_compacts_the_study_is_read_all_the_same(study: Builder) -> None:
    """Nobody waits, and nobody writes twice."""
    from filelock import FileLock

    trial(study, 0)
    load(study.directory)
    trial(study, 1)
    with FileLock(study.directory / "records.parquet" / ".lock"):
        assert names(load(study.directory)) == ["t000", "t001"]
        assert len(parts(study)) == 1
        assert len(pandas.read_parquet(study.directory / "records.parquet")) == 1
    load(study.directory)
    assert len(pandas.read_parquet(study.directory / "records.parquet")) == 2


LOADS = """
import sys
from pathlib import Path
from harness.report.reading.study import load
while not Path(sys.argv[1], "done").exists():
    for cell in load(Path(sys.argv[1])).cells:
        trials = [run.record.trial for run in cell.runs]
        assert trials == list(range(len(trials))), trials
"""


def test_reports_at_once_harm_nothing(study: Builder) -> None:
    """Three processes report on a study whose runs end all the while; each sees every run once."""
    trial(study, 0)
    command = [sys.executable, "-c", LOADS, str(study.directory)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for number in range(1, 120):
        trial(study, number)
        time.sleep(0.03)
    (study.directory / "done").touch()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    load(study.directory)
    table = pandas.read_parquet(study.directory / "records.parquet")
    assert sorted(table["trial"]) == list(range(120))


def test_another_sweep_is_noticed(study: Builder) -> None:
    """What was asked is copied too; the copy counts for the very file that it was made of."""
    study.sweep([asked(CELL)], created="first")
    trial(study, 0)
    assert load(study.directory) == load(study.directory)
    study.sweep([asked(CELL), asked("demo.minilm.full")], created="second time")
    found = load(study.directory)
    assert (found.sweep["created"], len(found.cells)) == ("second time", 2)
    (study.directory / "records.parquet" / ".sweep.json").write_text('{"stamp": ', encoding="utf-8")
    assert load(study.directory) == found


def test_a_sweep_that_json_cannot_hold_keeps_its_values(study: Builder) -> None:
    """Keys that are numbers and dates are read as YAML has them, each time."""
    study.sweep([asked(CELL)])
    with (study.directory / "sweep.yaml").open("a", encoding="utf-8") as file:
        file.write("extra: {1: 2001-01-01}\n")
    trial(study, 0)
    first = load(study.directory)
    assert load(study.directory) == first
    assert list(first.sweep["extra"]) == [1]
