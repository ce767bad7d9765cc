"""`python -m harness.logs`, on study directories written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records.files import append_jsonl
from harness.records.record import Record
from harness.status import logs
from tests.helpers import study_directories
from tests.helpers.study_directories import LR

LORA, ADALORA = "demo.minilm.lora", "demo.minilm.adalora"


@pytest.fixture
def study(place: Path) -> Path:
    """A run that worked, one that failed, one that runs, one that waits in a job."""
    study = Path("runs/support")
    study_directories.sweep(study, {LORA: {"train.lr": LR}, ADALORA: {"train.lr": LR}})
    study_directories.run(study, LORA, "trial0000", log="Epoch 1, dev acc: 0.8\n")
    study_directories.run(study, ADALORA, "trial0000", log="Epoch 1, dev acc: 0.9\n")
    study_directories.run(
        study, LORA, "trial0001", "failed", error="Out of memory.", log="Epoch 1\nFailed: Out of memory.\n"
    )
    study_directories.run(study, LORA, "trial0002", "running", log="Epoch 1\n")
    study_directories.job(study, "ab", [[f"{LORA}/trial0001"], [f"{LORA}/trial0002", f"{LORA}/trial0003"]])
    study_directories.states(study, {"17_1": ("RUNNING", "None", "n1")})
    folder = study / "jobs/logs"
    folder.mkdir()
    (folder / "17_0_0_log.out").write_text("".join(f"line {number}\n" for number in range(100)))
    (folder / "17_0_0_log.err").write_text("10%\r100%\r\n\x1b[31mslurmstepd: error: oom_kill\x1b[0m\n")
    (folder / "17_1_0_log.err").write_text("of the other task\n")
    (folder / "17_10_0_log.err").write_text("of a task whose number begins alike\n")
    return study


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert logs.main(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("part", [f"{LORA}/trial0000", "minilm.lora/trial0000", "lora/trial0000", "m.LORA/trial0000"])
def test_any_part_that_names_one_run(study: Path, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """At the borders of words first: lora is not adalora."""
    assert shown(capsys, "support", part) == f"{LORA}/trial0000: ok\nEpoch 1, dev acc: 0.8\n"


def test_an_unknown_or_ambiguous_run_is_told_with_the_nearest(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So is an unknown study."""
    assert logs.main(["support", "trial0000"]) == 2
    assert f"names 2 runs of support: {ADALORA}/trial0000, {LORA}/trial0000. Give more" in capsys.readouterr().err
    assert logs.main(["support", "demo.minilm.lora/trial0009"]) == 2
    assert "Did you mean demo.minilm.lora/trial000" in capsys.readouterr().err
    assert logs.main(["suport", "x"]) == 2
    assert "Did you mean support?" in capsys.readouterr().err
    study_directories.sweep(Path("runs/new"), {LORA: {}})
    assert logs.main(["new", "x"]) == 2
    assert "has no run yet" in capsys.readouterr().err


def test_a_failed_run_shows_what_its_job_said(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its last lines, as they would stand on a screen; the error once."""
    text = shown(capsys, "support", "lora/trial0001")
    assert text.startswith(f"{LORA}/trial0001: failed\nEpoch 1\nFailed: Out of memory.\n")
    assert text.count("Out of memory.") == 1
    assert "\nline 99\n" in text
    assert "line 59\n" not in text
    assert text.endswith("17_0_0_log.err:\n100%\nslurmstepd: error: oom_kill\n")
    assert "begins alike" not in text
    assert "of the other task" not in text


def test_a_lost_run_shows_every_loss(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the error that its log could not tell."""
    paths = study_directories.run(
        study, ADALORA, "trial0001", "lost", error="Killed by SIGKILL. Tried twice.", log="Epoch 1\n"
    )
    for at in ("one", "two"):
        append_jsonl(paths.failures, {"reason": "Killed by SIGKILL.", "at": at})
    text = shown(capsys, "support", "adalora/trial0001")
    assert "Lost at one: Killed by SIGKILL.\nLost at two: Killed by SIGKILL.\nError: Killed by SIGKILL. Tried" in text


def test_a_run_without_a_log_shows_its_job(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may have failed before its first line; where it stands, the first line of this says."""
    text = shown(capsys, "support", "trial0003")
    assert text.startswith(f"{LORA}/trial0003: queued (job 17_1: RUNNING, n1)\nIt has no log yet.\n")
    assert "of the other task" in text
    text = shown(capsys, "support", "lora/trial0002")
    assert "of the other task" not in text
    assert "of the other task" in shown(capsys, "support", "lora/trial0002", "--slurm")
    assert "No output of a Slurm job" in shown(capsys, "support", "lora/trial0000", "--slurm")


def test_following_a_run_to_its_end(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written meanwhile is printed once, whole lines only; a log that is begun anew from its start."""
    paths = study_directories.run(study, LORA, "trial0002", "running", log="Epoch 1\n")

    def longer() -> None:
        with paths.log.open("a") as file:
            file.write("Epoch 2, dev a")

    def whole() -> None:
        with paths.log.open("a") as file:
            file.write("cc: 0.9\n")

    def end() -> None:
        paths.log.write_text("Again\n")
        record = Record.read(paths.record)
        assert record is not None
        record.status = "ok"
        record.write(paths.record)

    steps = iter([longer, whole, end])
    monkeypatch.setattr(logs.time, "sleep", lambda seconds: next(steps)())
    text = shown(capsys, "support", "lora/trial0002", "--follow")
    assert text.endswith("Epoch 1\nEpoch 2, dev acc: 0.9\nAgain\n")


def test_following_a_run_that_nobody_executes_ends(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its coordinator is gone, and no job holds it."""
    study_directories.run(study, ADALORA, "trial0002", "running", log="Epoch 1\n")
    monkeypatch.setattr(logs.time, "sleep", lambda seconds: None)
    assert "No process executes it now." in shown(capsys, "support", "adalora/trial0002", "--follow")
