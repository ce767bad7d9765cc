"""A study outlives what happens to it: dead coordinators, dead workers, methods that go wrong, Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.prepared_process import Started
from tests.helpers.small_dataset import ROOT, shorten, write_rows

# What a run costs differs from time to time, and so may which of two cheap cells is the cheapest.
COSTS = (
    "tune_seconds", "train_seconds", "peak_memory_mb", "total_seconds", "latency_p50_seconds", "latency_p95_seconds",
    "throughput_per_second", "core_seconds", "evaluate_share", "recommended", "pscp", "cost_std",
)  # fmt: skip
PROBABILITIES = ("brier", "calibration_error")
FAULTY = str(ROOT / "tests/faulty/conf")
TOPICS = ("task=csv", "task.path=mine.csv", "task.label=topic")


class Study:
    """A small real study in a directory of its own, run in a process that can be killed.

    Args:
        directory: the current directory of the process.
        cache: see the fixture `cache`.
        arguments: overrides.
        name: of the study.
        whole: whether it trains all of MiniLM rather than its first blocks.

    Arguments that name a task bring a model of their own, too.
    """

    def __init__(self, directory: Path, cache: Path, *arguments: str, name: str = "mine", whole: bool = False) -> None:
        directory.mkdir(exist_ok=True)
        write_rows(directory / "mine.csv", per_class=30, seed=0)
        self.directory, self.runs = directory, directory / "runs" / name / "runs"
        own = any(argument.startswith("task=") for argument in arguments)
        asked = () if own else (*TOPICS, *(() if whole else short_model()))
        self.command = [
            sys.executable, "-m", "harness", "-m", f"study={name}", f"cache_dir={cache}", "confirm.seeds=2",
            *asked, *arguments,
        ]  # fmt: skip
        self.table = directory / "reports" / name / "table.csv"

    def begin(self) -> Started:
        """Start it where the imports are made."""
        return Started(self.command[3:], self.directory, {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT)})

    def start(self) -> subprocess.Popen[str]:
        """Start it as a user does."""
        environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            self.command,
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, timeout: float = 600) -> tuple[int, str]:
        process = self.begin()
        try:
            printed, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
        assert process.returncode is not None
        return process.returncode, printed

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.runs.glob("*/*/record.json"))]

    def rows(self) -> list[dict[str, str]]:
        with self.table.open(newline="") as file:
            return [{k: v for k, v in row.items() if k not in COSTS} for row in csv.DictReader(file)]


def descendants(pid: int) -> list[int]:
    """Processes below one, from /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def workers(pid: int) -> list[int]:
    """The warm workers below a coordinator: the processes that the fork server forked."""
    direct = [child for child in descendants(pid) if child in _children(pid)]
    return [child for child in descendants(pid) if child not in direct]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def short_model() -> tuple[str, ...]:
    """MiniLM's first blocks under its name, for studies that train where weights need not be all of them."""
    return "model=own", "model.name=minilm", f"model.path={shorten()}"


TRAINED = ("method=nearest_mean,linear_probe,lora", "tune.trials=2", "train.epochs=2", "train.checkpoint_seconds=0.2")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_coordinator_killed_at_ten_random_moments_ends_with_the_table_of_an_uninterrupted_one(
    tmp_path: Path, cache: Path
) -> None:
    """Inline, so that each trial is suggested with all earlier ones told. Every run has exactly one `ok` record."""
    straight = Study(tmp_path / "straight", cache, *TRAINED, "launch.kind=inline")
    began = time.monotonic()
    code, printed = straight.finish()
    assert code == 0, printed
    whole = time.monotonic() - began
    killed = Study(tmp_path / "killed", cache, *TRAINED, "launch.kind=inline")
    moments = random.Random(0)
    for _ in range(10):
        process = killed.begin()
        wait(process, whole * moments.uniform(0.02, 0.3))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    code, printed = killed.finish()
    assert code == 0, printed
    assert [record["status"] for record in killed.records()] == ["ok"] * len(straight.records())
    assert len({record["signature"] for record in killed.records()}) == len(killed.records())
    assert len(killed.rows()) == len(straight.rows())
    for mine, reference in zip(killed.rows(), straight.rows(), strict=True):
        for key in PROBABILITIES:  # a resumed run is equal up to float32's rounding
            assert float(mine.pop(key) or 0) == pytest.approx(float(reference.pop(key) or 0), abs=1e-5)
        assert mine == reference
    assert not list(killed.runs.glob("*/*/checkpoint"))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_workers_killed_at_ten_random_moments_cost_no_run(tmp_path: Path, cache: Path) -> None:
    """A retry goes on in the same directory; no record says `running` or `lost` at the end."""
    study = Study(
        tmp_path / "study", cache, "method=linear_probe,lora", "tune.trials=6", "train.epochs=3", "launch.workers=2",
        "launch.retries=20",
    )  # fmt: skip
    process = study.begin()
    moments = random.Random(1)
    kills = 0
    while kills < 10 and process.poll() is None:
        time.sleep(moments.uniform(0.5, 3))
        if victims := workers(process.pid):
            os.kill(moments.choice(victims), signal.SIGKILL)
            kills += 1
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert kills >= 5, "the study was over too soon for this test to mean anything"
    records = study.records()
    assert {record["status"] for record in records} == {"ok"}, printed
    assert len({record["signature"] for record in records}) == len(records)


def test_methods_that_go_wrong_cost_their_own_rows_only(tmp_path: Path, cache: Path, start_seconds: float) -> None:
    """One raises, one returns NaN, one is killed, one hangs, one runs out of memory: failed rows with reasons."""
    minutes = round(max(0.3, 4 * start_seconds / 60), 2)  # the start of the first worker counts
    study = Study(
        tmp_path / "study", cache, "--config-dir", FAULTY, "packages=[tests]", "launch.workers=2", "tune.trials=1",
        f"launch.timeout_min={minutes}", "launch.retries=0",
        "method=nearest_mean,faulty_raise,faulty_nan,faulty_kill,faulty_hang,faulty_memory,linear_probe",
    )  # fmt: skip
    code, printed = study.finish()
    assert code == 0, printed
    assert "Traceback" not in printed
    rows = {row["method"]: row for row in study.rows()}
    for method in ("nearest_mean", "linear_probe"):
        assert rows[method]["n_seeds"] == "2"
        assert rows[method]["failed"] == "0"
    for method, reason in {
        "faulty_raise": "this method always raises",
        "faulty_nan": "finite",
        "faulty_kill": "killed by SIGKILL",
        "faulty_hang": f"longer than launch.timeout_min={minutes:g}",
        "faulty_memory": "train.batch_size",
    }.items():
        row = rows[method]
        assert row["status"] == "failed", row
        assert reason in row["error"], row
        assert row["test_mean"] == ""
        assert int(row["failed"]) == 1
    assert {record["status"] for record in study.records()} == {"ok", "failed", "lost"}


def test_ctrl_c_checkpoints_says_how_to_go_on_and_the_same_command_does(tmp_path: Path, cache: Path) -> None:
    """The signal reaches the whole process group, as a terminal sends it."""
    asked = ("method=lora", "tune.trials=1", "train.epochs=6", "launch.workers=1", "confirm.seeds=1")
    study = Study(tmp_path / "study", cache, *asked, whole=True)  # with fewer blocks it might end before the signal
    process = study.begin()
    metrics = study.runs / "csv.minilm.lora" / "trial0000" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 2)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 130, printed
    assert "Nothing is lost; to go on, run the same command again:\n  python -m harness -m" in printed
    assert "Traceback" not in printed
    assert (metrics.parent / "checkpoint").is_dir()
    assert json.loads((metrics.parent / "record.json").read_text())["status"] == "running"
    epochs = metrics.read_text().count("\n")
    code, printed = study.finish()
    assert code == 0, printed
    assert {record["status"] for record in study.records()} == {"ok"}
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 7))  # each once, although it was interrupted
    assert epochs < 6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_ctrl_c_while_a_study_starts_is_answered_in_a_line(tmp_path: Path, cache: Path) -> None:
    """Also while the fork server still imports what the workers need."""
    study = Study(tmp_path / "study", cache, "method=lora", "train.epochs=500", "launch.workers=1")
    process = study.start()
    wait_for(lambda: any(_has_loaded(pid, "sklearn") for pid in descendants(process.pid)))
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed


def _has_loaded(pid: int, package: str) -> bool:
    """Whether a process has a compiled part of a package in memory."""
    try:
        return f"/{package}/" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # it has ended
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_workers_end_with_their_coordinator(tmp_path: Path, cache: Path) -> None:
    """However it dies."""
    study = Study(tmp_path / "study", cache, "method=lora", "train.epochs=500", "launch.workers=2")
    process = study.begin()
    wait_for(lambda: any(study.runs.glob("*/*/metrics.jsonl")))
    below = descendants(process.pid)
    assert len(workers(process.pid)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))


def test_a_finished_study_trains_nothing_again_and_an_edited_row_makes_a_new_one(tmp_path: Path, cache: Path) -> None:
    """The default name holds a hash of the question, which the data is part of."""
    study = Study(tmp_path / "study", cache, "method=linear_probe", "tune.trials=2", "launch.kind=inline", "study=null")
    code, printed = study.finish()
    assert code == 0, printed
    (first,) = (tmp_path / "study/runs").iterdir()
    written = {path: path.stat().st_mtime_ns for path in first.rglob("record.json")}
    code, printed = study.finish()
    assert code == 0, printed
    assert "trial 0" not in printed  # no run is told of
    assert {path: path.stat().st_mtime_ns for path in first.rglob("record.json")} == written
    rows = (tmp_path / "study/mine.csv").read_text()
    (tmp_path / "study/mine.csv").write_text(rows.replace("my parcel", "our parcel", 1))
    code, printed = study.finish()
    assert code == 0, printed
    assert len(list((tmp_path / "study/runs").iterdir())) == 2


def wait(process: Started, seconds: float) -> None:
    """Wait so long, or until the process has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)


def wait_for(condition: Callable[[], bool], seconds: float = 600) -> None:
    """Wait until something is so, however slow the machine; what never comes ends the test."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
