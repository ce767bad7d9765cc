"""`python -m harness.status`, on study directories written by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.records.files import write_json
from harness.status import __main__ as status
from harness.status import discovery
from harness.status.study_status import survey
from tests.helpers import study_directories
from tests.helpers.study_directories import LR, RANK

LORA, PROBE = "demo.minilm.lora", "demo.minilm.linear_probe"


@pytest.fixture(autouse=True)
def _no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own scheduler is not asked."""
    discovery._queue.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path / "no_programs"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def study(place: Path) -> Path:
    """Two cells: one done, one in the middle of tuning, with an interrupted, a failed and a pruned run."""
    study = Path("runs/support")
    study_directories.sweep(study, {LORA: {"train.lr": LR}, PROBE: {"method.C": RANK}}, trials=6)
    study_directories.run(study, LORA, "trial0000", val=0.8)
    study_directories.run(study, LORA, "trial0001", val=0.865)
    study_directories.run(study, LORA, "trial0002", "pruned")
    study_directories.run(study, LORA, "trial0003", "failed", error="Out of [red]memory[/red].")
    study_directories.run(study, LORA, "trial0004", "running")
    for number in range(2):  # all that its space holds, less than the budget
        study_directories.run(study, PROBE, f"trial{number:04d}", val=0.7)
    for seed in (1, 2):
        study_directories.run(study, PROBE, f"confirm-ab-seed{seed}", val=0.71)
    return study


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert status.main(arguments) == 0
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(shown(capsys, *arguments, "--json"))
    return content


def line(text: str, start: str) -> list[str]:
    return next(each for each in text.splitlines() if each.startswith(start)).split()


def test_a_study_that_was_left_shows_every_cell(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tuned, confirmed, interrupted, failed, best in percent; and what to do."""
    text = shown(capsys, "support")
    assert text.startswith("support: stopped\nRuns: 6 ok, 1 pruned, 1 failed, 1 interrupted.")
    assert line(text, LORA) == [LORA, "4/6", "0/2", "1", "1", "86.5", "%", "tuning"]
    assert line(text, PROBE) == [PROBE, "2/2", "2/2", "70.0", "%", "done"]
    assert f"{LORA}/trial0003: Out of [red]memory[/red]." in text
    assert f"python -m harness.logs support {LORA}/trial0003" in text
    assert "run the command that started it again" in text


def test_a_run_that_waits_at_a_rung_is_paused_whoever_coordinates(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither running nor interrupted: it is not decided yet who goes on."""
    study_directories.run(study, LORA, "trial0005", "running", val=0.9, cost={"paused_at": 1})
    text = shown(capsys, "support")
    assert text.startswith("support: stopped\nRuns: 6 ok, 1 pruned, 1 failed, 1 paused, 1 interrupted.")
    assert line(text, LORA) == [LORA, "4/6", "0/2", "1", "1", "1", "86.5", "%", "tuning"]
    with study_directories.coordinated(study):
        assert told(capsys, str(study))["runs"]["paused"] == 1


def test_a_study_that_is_coordinated_is_running(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock tells, not the file beside it; a run that an earlier coordinator left is not under way."""
    old = study / "runs" / LORA / "trial0004/record.json"
    os.utime(old, (0, 0))
    with study_directories.coordinated(study):
        study_directories.run(study, LORA, "trial0005", "running")
        text = shown(capsys, "support")
        assert f"support: running, coordinated by process {os.getpid()} on " in text
        content = told(capsys, str(study))
    assert content["holder"]["pid"] == os.getpid()
    assert (content["runs"]["running"], content["runs"]["interrupted"]) == (1, 1)
    write_json(study / "holder.json", {"pid": 1, "host": "elsewhere", "since": "2020-01-01T00:00:00+00:00"})
    assert "support: stopped; its coordinator (process 1 on elsewhere) died" in shown(capsys, "support")
    assert survey(study).state == "stopped"  # looking does not hold the lock


def test_a_study_is_done_when_every_cell_is_confirmed_or_given_up(study: Path) -> None:
    """A cell whose first runs all failed is given up; one whose choice was confirmed needs no more trials."""
    gave_up = Path("runs/none")
    study_directories.sweep(gave_up, {LORA: {"train.lr": LR}}, trials=6)
    for number in range(3):
        assert survey(gave_up).state == "stopped"
        study_directories.run(gave_up, LORA, f"trial{number:04d}", "failed", error="x")
    found = survey(gave_up)
    assert (found.state, found.cells[0].state) == ("done", "failed")

    chosen = Path("runs/seconds")  # a budget in seconds: only its choice says that tuning is over
    study_directories.sweep(chosen, {LORA: {"train.lr": LR}}, trials=None)
    study_directories.run(chosen, LORA, "trial0000", val=0.5)
    study_directories.run(chosen, LORA, "confirm-ab-seed1", val=0.5)
    assert survey(chosen).cells[0].state == "tuning"
    study_directories.choices(chosen, {LORA: ["confirm-ab-seed1", "confirm-ab-seed2"]})
    assert survey(chosen).cells[0].state == "confirming"
    study_directories.run(chosen, LORA, "confirm-ab-seed2", val=0.5)
    assert survey(chosen).state == "done"


def test_a_cell_without_a_configuration_that_keeps_the_limits_is_not_confirmed(place: Path) -> None:
    """What is above a limit of tune.constraints is not the best, and nothing waits to be confirmed."""
    limited = Path("runs/limited")
    study_directories.sweep(limited, {LORA: {"train.lr": LR}}, trials=2)
    asked = yaml.safe_load((limited / "sweep.yaml").read_text())
    asked["tune"]["constraints"] = {"peak_memory_mb": 800}
    (limited / "sweep.yaml").write_text(yaml.safe_dump(asked))
    study_directories.run(limited, LORA, "trial0000", val=0.9, cost={"peak_memory_mb": 900.0})
    study_directories.run(limited, LORA, "trial0001", val=0.8, cost={})
    cell = survey(limited).cells[0]
    assert (cell.state, cell.best) == ("failed", None)
    study_directories.run(limited, LORA, "trial0001", val=0.7, cost={"peak_memory_mb": 700.0})
    cell = survey(limited).cells[0]
    assert (cell.state, cell.best) == ("confirming", 0.7)


def test_an_extended_study_is_not_done_by_its_earlier_choice(place: Path) -> None:
    """The choices of a smaller budget do not end the tuning of a larger one."""
    study = Path("runs/more")
    study_directories.sweep(study, {LORA: {"train.lr": LR}}, trials=1, seeds=(1,))
    study_directories.run(study, LORA, "trial0000", val=0.5, hyperparameters={"train.lr": 1.0})
    study_directories.run(study, LORA, "confirm-ab-seed1", hyperparameters={"train.lr": 1.0})
    study_directories.choices(study, {LORA: ["confirm-ab-seed1"]})
    assert survey(study).state == "done"
    study_directories.sweep(study, {LORA: {"train.lr": LR}}, trials=2, seeds=(1,))
    os.utime(study / "choices.json", (0, 0))
    (cell,) = survey(study).cells
    assert (cell.state, cell.tuned, cell.trials) == ("tuning", 1, 2)
    study_directories.run(study, LORA, "trial0001", val=0.6, hyperparameters={"train.lr": 2.0})
    (cell,) = survey(study).cells  # another configuration is best now, and nobody has confirmed it
    assert (cell.state, cell.confirmed, cell.best) == ("confirming", 0, 0.6)


def test_jobs_say_what_is_queued_and_what_runs(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of one state together; what is closed is not shown, and not waited for."""
    study_directories.job(
        study, "ab", [[f"{LORA}/trial0004", f"{LORA}/trial0005"], [f"{LORA}/trial0006"], [f"{LORA}/trial0007"]]
    )
    study_directories.job(study, "cd", [[f"{LORA}/trial0008"]], state="closed", job_id="16")
    study_directories.job(study, "ef", [[f"{LORA}/trial0009"]], state="intended", job_id=None)
    study_directories.states(study, {"17_0": ("RUNNING", "None", "n1"), "17_1": ("PENDING", "Priority", ""),
                           "17_2": ("PENDING", "Priority", "")})  # fmt: skip
    text = shown(capsys, "support")
    assert line(text, LORA)[3:5] == ["1", "4"]
    assert line(text, "17_0") == ["17_0", "2", "RUNNING", "n1"]
    assert line(text, "17_[1-2]") == ["17_[1-2]", "2", "PENDING", "Priority"]
    assert "not submitted yet" in text
    assert "16_0" not in text
    assert "Its jobs may still run" in text
    content = told(capsys, "support")
    assert (content["runs"]["running"], content["runs"]["queued"], content["runs"]["interrupted"]) == (1, 4, 0)
    assert content["tasks"][1]["state"] == "PENDING"
    study_directories.states(study, {"17_0": ("PENDING", "BeginTime", "")})  # it was requeued
    assert survey(study).runs["running"] == 0


@pytest.mark.parametrize(
    ("answer", "code", "state"),
    [
        ("5|PENDING|Resources||harness-coordinator", 0, "queued"),
        ("", 0, "stopped"),
        ("5|CANCELLED|None||harness-coordinator", 0, "stopped"),
        ("6|RUNNING|None|n1|another", 0, "stopped"),
        ("Unable to contact slurm controller", 1, "queued"),
    ],
)
def test_a_detached_study_is_queued_until_its_coordinator_starts(
    place: Path, answer: str, code: int, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scheduler tells; where it does not answer, what is there."""
    study = Path("runs/far")
    study_directories.sweep(study, {LORA: {"train.lr": LR}})
    write_json(study / "coordinator.json", {"job_id": "5", "submitted": study_directories.now(), "command": ["-m"]})
    monkeypatch.setenv("PATH", str(study_directories.squeue(place, answer, code)))
    assert survey(study).state == state
    text = shown(capsys, "far")
    assert ("waiting for job 5" in text) is (state == "queued")
    if "PENDING" in answer:
        assert "waiting for job 5 (PENDING, Resources) for" in text


def test_a_detached_study_without_a_scheduler_to_ask(place: Path) -> None:
    """A coordinator that has opened the study since it was submitted, and is gone, is over."""
    study = Path("runs/far")
    study.mkdir(parents=True)
    write_json(study / "coordinator.json", {"job_id": "5", "submitted": study_directories.now(), "command": ["-m"]})
    assert survey(study).state == "queued"
    (study / "study.journal").write_text("")
    moment = (study / "study.journal").stat().st_mtime + 5
    os.utime(study / "study.journal", (moment, moment))
    assert survey(study).state == "stopped"


def test_the_list_has_a_line_a_study(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Single runs too; they have no coordinator, so signs of life tell whether they run."""
    single = Path("runs/single")
    study_directories.run(single, LORA, "0123", phase="single")
    busy = study_directories.run(single, LORA, "4567", "running", phase="single", log="Epoch 1\n")
    Path("runs/not_a_study").mkdir()
    text = shown(capsys)
    assert line(text, "support") == ["support", "stopped", "2", "7", "1", *line(text, "support")[5:]]
    assert line(text, "single")[:3] == ["single", "running", "1"]
    assert "not_a_study" not in text
    for path in (busy.log, busy.record):
        os.utime(path, (0, 0))
    content = told(capsys)
    assert {each["name"]: each["state"] for each in content["studies"]} == {"support": "stopped", "single": "stopped"}
    assert set(content["studies"][0]) == {"name", "directory", "state", "cells", "runs", "activity"}
    assert "ended" in shown(capsys, "single")
    assert "There are no studies in nothing." in shown(capsys, "--runs-dir", "nothing")


def test_an_unknown_name_is_told_with_the_nearest(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a broken file is passed over."""
    assert status.main(["suport"]) == 2
    assert "Did you mean support?" in capsys.readouterr().err
    assert status.main(["x", "--runs-dir", "elsewhere"]) == 2
    assert "elsewhere holds no study" in capsys.readouterr().err
    (study / "runs" / LORA / "trial0000/record.json").write_text("{")
    (study / "choices.json").write_text("[")
    assert f"Unreadable: {LORA}/trial0000/record.json" in shown(capsys, "support")
    (study / "sweep.yaml").write_text(": {")
    assert "support" in shown(capsys, "support")


def test_a_live_view_ends_with_the_study(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It looks again and again until nobody holds it; Ctrl-C ends the view."""
    holding = study_directories.coordinated(study)
    holding.__enter__()
    monkeypatch.setattr(status.time, "sleep", lambda seconds: holding.__exit__(None, None, None))
    assert "support: stopped" in shown(capsys, "support", "--watch")

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", interrupt)
    with study_directories.coordinated(study):
        assert "support: running" in shown(capsys, "support", "--watch")


def test_it_answers_without_the_heavy_libraries(study: Path) -> None:
    """People look often, from login nodes."""
    code = (
        "import sys; from harness.status.__main__ import main; main(['support']); main(['--json']);"
        "heavy = {'torch', 'optuna', 'hydra', 'transformers', 'submitit'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
