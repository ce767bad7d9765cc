"""`python -m harness.stop`, on study directories written by hand."""

from __future__ import annotations

import sys
import threading
import time
import types
from pathlib import Path

import pytest

from harness.records.files import write_json
from harness.status import discovery, stop
from tests.helpers import study_directories
from tests.helpers.study_directories import LR

LORA = "demo.minilm.lora"


@pytest.fixture
def study(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study in the middle."""
    discovery._queue.cache_clear()
    monkeypatch.setenv("PATH", str(place / "no_programs"))  # the machine's own scheduler is not asked
    study = Path("runs/support")
    study_directories.sweep(study, {LORA: {"train.lr": LR}})
    study_directories.run(study, LORA, "trial0000", val=0.8)
    study_directories.run(study, LORA, "trial0001", "running").checkpoint.mkdir()
    return study


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The studies whose jobs were cancelled, by a stand-in for the launcher."""
    called: list[Path] = []
    module = types.ModuleType("harness.launch.slurm.cancel")

    def cancel_study(directory: Path) -> int:
        called.append(directory)
        return 3

    module.cancel_study = cancel_study  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "harness.launch.slurm.cancel", module)
    return called


def test_a_coordinator_is_asked_and_waited_for(
    study: Path, cancelled: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept and how to go on is said; nothing is left that would stop the next one."""

    def coordinate(ready: threading.Event) -> None:
        with study_directories.coordinated(study):
            ready.set()
            while not (study / "stop").exists():
                time.sleep(0.02)

    ready = threading.Event()
    thread = threading.Thread(target=coordinate, args=(ready,))
    thread.start()
    ready.wait()
    assert stop.main(["support", "--wait", "30"]) == 0
    thread.join()
    text = capsys.readouterr().out
    assert text.startswith(
        "support has stopped. Kept: 1 ended run and 1 unfinished run, 1 with a checkpoint. To continue,"
    )
    assert not (study / "stop").exists()
    assert cancelled == []


def test_a_coordinator_that_takes_longer(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It still stops: the file stays."""
    with study_directories.coordinated(study):
        assert stop.main([str(study), "--wait", "0.1"]) == 1
        assert (study / "stop").read_text().startswith("20")
    assert "still stopping after 0.1 s" in capsys.readouterr().out


def test_jobs_without_a_coordinator_are_cancelled(
    study: Path, cancelled: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """And its command is told where it is known."""
    study_directories.job(study, "ab", [[f"{LORA}/trial0001"]])
    write_json(
        study / "coordinator.json",
        {
            "job_id": "5",
            "submitted": study_directories.now(),
            "command": ["-m", "study=support", "train.lr=interval(0, 1)"],
        },
    )
    assert stop.main(["support"]) == 0
    assert cancelled == [study]
    text = capsys.readouterr().out
    assert "Its waiting jobs were cancelled" in text
    assert text.endswith("  python -m harness -m study=support 'train.lr=interval(0, 1)'\n")


def test_a_study_of_which_nothing_runs(study: Path, cancelled: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A file of an earlier command that did not wait is removed."""
    (study / "stop").write_text("")
    assert stop.main(["support"]) == 0
    assert cancelled == []
    assert capsys.readouterr().out.startswith("Nothing of support is running. Kept: 1 ended run")
    assert not (study / "stop").exists()
    study_directories.job(study, "ab", [[f"{LORA}/trial0001"]], state="closed")
    assert stop.main(["support"]) == 0
    assert capsys.readouterr().out.startswith("Nothing of support is running.")


def test_an_unknown_study(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The nearest are named."""
    assert stop.main(["suport"]) == 2
    assert "Did you mean support?" in capsys.readouterr().err
